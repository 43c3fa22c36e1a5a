"""How far a rollout is, in the words of the adapter's conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.api.base_model import ServingRevision
from graft_operator.api.conditions import Fact, find, no, yes
from graft_operator.api.rollout import RolloutSpec
from graft_operator.plan.rollout import canary
from graft_operator.plan.rollout.coverage import wanted_replicas
from graft_operator.plan.rollout.plan import Rollout
from graft_operator.plan.snapshot import AdapterSnapshot

NO_VERSION: Final = "there is no version to serve yet"


def answering_versions(seen: AdapterSnapshot, rollout: Rollout) -> tuple[int, ...]:
    """Return the versions that answer while every wanted replica of one revision answers with some version.

    During a rollout some pods are ahead of others; clients are served all the same.
    """
    base, former = seen.base, rollout.former
    served = [(version, rollout.mode) for version in (rollout.target, rollout.previous)]
    served += [(former.version, former.mode)] if former else []
    for version, mode in served:
        if version is None or mode is None or base is None:
            continue
        own = [pod for pod in seen.pods_serving_as(mode) if pod.base_digest == version.base_digest]
        answering = [pod for pod in own if pod.ready and pod.active]
        if 0 < wanted_replicas(base, version.base_digest, own, seen.replicas_serving_as(mode)) <= len(answering):
            return tuple(sorted({number for pod in answering for number in pod.active}))
    return ()


def served_fact(seen: AdapterSnapshot, rollout: Rollout, rollback: Fact | None) -> Fact:
    """Say whether the target answers everywhere, and what it stands in for."""
    if rollout.target is None:
        return no("NoVersion", NO_VERSION)
    if rollout.absent:
        return absent_fact(seen, rollout)
    if not rollout.done:
        return rolling_fact(seen, rollout)
    message = f"version {rollout.target.number} on {rollout.coverage.loaded} replicas"
    if rollback is not None and rollback.reason == "RolledBack":
        return yes("RolledBack", f"{message}; {rollback.message}")
    return yes("Served", message)


def is_on_demand(seen: AdapterSnapshot, rollout: Rollout) -> bool:
    """Whether the target is past its rollout, and answers whenever the adapter is asked and has a place."""
    gives_way = rollout.mode == "MultiAdapter" and seen.adapter.spec.serving.residency == "OnDemand"
    return gives_way and (rollout.absent or rollout.progress is None)


def absent_fact(seen: AdapterSnapshot, rollout: Rollout) -> Fact:
    """Say that nothing is wrong with an adapter that is loaded on demand, and when it will be."""
    base, number = seen.base, rollout.target.number if rollout.target else 0
    name, seconds = (base.metadata.name, base.spec.serving.on_demand_idle_seconds) if base else ("", 0)
    return no(
        "NotResident",
        f"version {number} is loaded when it is asked for (serving.residency OnDemand): all places of BaseModel {name}"
        f" are taken, and it takes that of another adapter on demand that nobody has asked for {seconds} seconds",
    )


def rolling_fact(seen: AdapterSnapshot, rollout: Rollout) -> Fact:
    """Say what a rollout waits for: a place, pods, or the end of a canary's step."""
    number = rollout.target.number if rollout.target else 0
    if (full := left_out_of(seen, rollout)) is not None:
        return no("WantedSetFull", wanted_set_full_message(seen, full, number))
    if waits_for_a_place(seen, rollout):
        return no("NoFreeSlot", no_place_message(seen, number))
    progress = rollout.progress
    if progress is not None and progress.weight < canary.ALL and progress.step_time is not None:
        return no("Canary", canary_message(seen.adapter.spec.serving.rollout, number, progress))
    text, pods = rolling_message(rollout, number), what_pods_wait_for(seen, rollout)
    return no("Loading" if is_on_demand(seen, rollout) else "RollingOut", f"{text}; {pods}" if pods else text)


def what_pods_wait_for(seen: AdapterSnapshot, rollout: Rollout) -> str:
    """Return why the pods that are to answer are not up, in the words of their Deployment or of the base's condition;
    empty where that is not what the rollout waits for, or one of them says more of the version itself."""
    target, coverage, deployment = rollout.target, rollout.coverage, seen.merged_deployment
    if rollout.mode == "Merged":
        return deployment.message if deployment is not None else ""
    if seen.base is None or target is None or coverage.message or coverage.loaded >= coverage.desired:
        return ""
    own = next((item for item in seen.base.status.serving if item.digest == target.base_digest), None)
    told = find(seen.base.status.conditions, "ServingReady")
    if own is None or told is None or told.reason != "PodsNotReady":
        return ""
    return told.message if told.message.startswith(f"Deployment {own.deployment}: ") else ""


def rolling_message(rollout: Rollout, number: int) -> str:
    """Return how far the pods are, and what the first failing one says."""
    coverage = rollout.coverage
    if coverage.desired == 0:
        return f"version {number}: serving.replicas of the base is 0"
    part = f" {rollout.weight} % of the requests" if rollout.weight < canary.ALL else ""
    text = f"version {number} answers{part} on {coverage.loaded} of {coverage.desired} replicas"
    if (former := rollout.former) is not None:
        text += f"; until it does on all of them, version {former.version.number} answers as with mode {former.mode}"
    return f"{text}; {coverage.message}" if coverage.message else text


def canary_message(spec: RolloutSpec, number: int, progress: RolloutProgress) -> str:
    """Return which step the canary is in, and until when. What is counted is left out: it changes all the time."""
    step, begun = canary.step_of(spec, progress.weight), progress.step_time
    text = f"version {number} answers {progress.weight} % of the requests"
    if step is None or begun is None:
        return text
    until = begun + timedelta(seconds=step.seconds)
    position = f"step {spec.effective_steps.index(step) + 1} of {len(spec.effective_steps)}"
    limits = spec.effective_limits
    enough = f" and {limits.min_requests} requests" if limits else ""
    return f"{text}, {position}: until {until:%Y-%m-%dT%H:%M:%SZ}{enough}"


def left_out_of(seen: AdapterSnapshot, rollout: Rollout) -> ServingRevision | None:
    """Return the target's revision, if what its pods are told has no room for the adapter."""
    target, revisions = rollout.target, seen.base.status.serving if seen.base else ()
    if rollout.mode != "MultiAdapter" or target is None:
        return None
    own = next((item for item in revisions if item.digest == target.base_digest), None)
    return own if own is not None and seen.adapter.metadata.name in own.left_out else None


def wanted_set_full_message(seen: AdapterSnapshot, revision: ServingRevision, number: int) -> str:
    """Return what to do about a base with more adapters than its pods can be told of."""
    name, total = (seen.base.metadata.name, seen.base.status.adapters.total) if seen.base else ("", 0)
    return (
        f"version {number} can't be told to the pods: ConfigMap {revision.deployment}, which tells them of the adapters"
        f" of BaseModel {name}, is full with {total - len(revision.left_out)} of them; delete adapters, or move some to"
        " another BaseModel"
    )


def waits_for_a_place(seen: AdapterSnapshot, rollout: Rollout) -> bool:
    """Whether the base has no room for the target beside what it serves already; a merged model takes none of it."""
    if rollout.mode != "MultiAdapter":
        return False
    revisions = seen.base.status.serving if seen.base else ()
    name, target = seen.adapter.metadata.name, rollout.target
    return any(target and item.digest == target.base_digest and name in item.waiting for item in revisions)


def no_place_message(seen: AdapterSnapshot, number: int) -> str:
    """Return what to do about a base that is full."""
    base = seen.base
    name, places = (base.metadata.name, base.spec.serving.max_loaded_adapters) if base else ("", 0)
    own = seen.replicas_serving_as("MultiAdapter")
    where, fix = (
        ("", "raise it")
        if own is None
        else (f" on too many of its pods for {own} replicas", "raise it, add pods to the base, lower serving.replicas")
    )
    return (
        f"version {number} waits for a place: the {places} of serving.maxLoadedAdapters of BaseModel {name} are taken"
        f"{where}; {fix}, or delete an adapter"
    )
