"""The next step of one adapter: train what is missing, serve what is good, say what is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graft_operator.api.adapter_status import LoraAdapterStatus, ServedVersion, Version
from graft_operator.api.conditions import no
from graft_operator.plan.actions import AddFinalizer, CreateJob, EmitEvent, Plan
from graft_operator.plan.adapter_conditions import adapter_conditions
from graft_operator.plan.deletion import CLEANUP_FINALIZER, plan_adapter_deletion
from graft_operator.plan.gate import GateVerdict, judge
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rollout import Rollout, plan_rollout, served
from graft_operator.plan.training import decide_training, new_version_reason, superseded_jobs
from graft_operator.plan.verdicts import Verdict
from graft_operator.plan.versions import entry_of, judged, known_versions, record

ROLLING_SECONDS = 0.5
"""How often the pods are asked while a version is on its way to them."""

STARTING_SECONDS = 5.0
"""How often they are asked while none of them is up: an engine takes minutes to start."""

WATCHING_SECONDS = 30.0
"""How often they are asked when something that should answer does not."""

TrainingJob = Callable[[AdapterObserved], dict[str, Any]]
"""Builds the manifest of the training Job; pure, and given by the caller so that plans know nothing of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The version that fulfils the spec, and whether the gate lets it through."""

    current: int | None = None
    gate: GateVerdict | None = None
    wanted: ServedVersion | None = None
    versions: tuple[Version, ...]

    @property
    def refusal(self) -> str:
        """Why the pods have refused the version that fulfils the spec; empty when they haven't."""
        entry = entry_of(self.versions, self.current) if self.current is not None else None
        refused = entry is not None and entry.state == "Refused"
        return f"{entry.message}; it is tried again when the spec changes" if entry and refused else ""


def plan_adapter(seen: AdapterObserved, now: datetime, *, training_job: TrainingJob) -> Plan:
    """Decide the next step for one adapter. Pure: no I/O, no clock, no randomness."""
    adapter = seen.adapter
    if adapter.metadata.is_deleting:
        return plan_adapter_deletion(seen, now)
    if adapter.spec.deletion_policy == "Delete" and CLEANUP_FINALIZER not in adapter.metadata.finalizers:
        return Plan(actions=(AddFinalizer(CLEANUP_FINALIZER),), requeue_after=0)
    training = decide_training(seen, now) or training_is_due(seen, training_job)
    judgement = judge_current(seen, training)
    rollout = decide_rollout(seen, judgement)
    if rollout.refused is not None:
        judgement = replace(judgement, versions=refuse(judgement.versions, rollout.refused, rollout.refusal))
    return Plan(
        actions=(*superseded_jobs(seen), *training.actions),
        status=adapter_status(seen, training, judgement, rollout, now),
        requeue_after=soonest(training.requeue_after, rollout_requeue(rollout, seen)),
    )


def training_is_due(seen: AdapterObserved, training_job: TrainingJob) -> Verdict:
    """Nothing holds the recipe yet: create the Job, whose name holds it."""
    manifest = training_job(seen)
    created = f"Job {manifest['metadata']['name']} is created"
    fact = no("JobCreated", created)
    event = EmitEvent("Normal", "TrainingJobCreated", f"{created}: {new_version_reason(seen)}")
    return Verdict(trained=fact, waiting=fact, actions=(CreateJob(manifest), event), requeue_after=3)


def judge_current(seen: AdapterObserved, training: Verdict) -> Judgement:
    """Run the gate over the version that fulfils the spec; a pinned one needs no gate."""
    versions = known_versions(seen.adapter.status.versions, seen.history)
    current = training.current
    if current is None:
        return Judgement(versions=versions)
    number = current.manifest.number
    spec_has_changed = seen.adapter.metadata.generation != seen.adapter.status.observed_generation
    known = None if spec_has_changed else entry_of(versions, number)
    if seen.adapter.spec.version is not None:
        gate = GateVerdict(True, "Pinned", "spec.version is a person's word")
    else:
        gate = judge(current.manifest, seen.live.manifest if seen.live else None, seen.adapter.spec.evaluation)
    entry = judged(current, gate, known)
    wanted = served(current) if entry.state == "Published" else None
    return Judgement(current=number, gate=gate, wanted=wanted, versions=record(versions, entry))


def decide_rollout(seen: AdapterObserved, judgement: Judgement) -> Rollout:
    """Decide where the alias should point; an adapter with mode None has no alias."""
    serving = seen.adapter.status.serving
    if seen.adapter.spec.serving.mode == "None":
        return plan_rollout(None, None, None, seen.base, ())
    return plan_rollout(judgement.wanted, serving.target, serving.previous, seen.base, seen.pods)


def refuse(versions: tuple[Version, ...], refused: ServedVersion, why: str) -> tuple[Version, ...]:
    """Remember that the pods refuse a version, so that it is not tried again until the spec changes."""
    known = entry_of(versions, refused.number)
    if known is None:
        return versions
    return record(versions, known.model_copy(update={"state": "Refused", "message": why}))


def adapter_status(
    seen: AdapterObserved,
    training: Verdict,
    judgement: Judgement,
    rollout: Rollout,
    now: datetime,
) -> LoraAdapterStatus:
    """Return the whole status; what has not changed keeps its value, so that an equal status is not written."""
    old = seen.adapter.status
    coverage = rollout.coverage
    rolling = rollout.target is not None and not coverage.complete
    return LoraAdapterStatus(
        observed_generation=seen.adapter.metadata.generation,
        conditions=adapter_conditions(seen, training, judgement.gate, rollout, judgement.refusal, now),
        recipe=seen.recipe,
        versions=judgement.versions,
        served_version=served_number(old, rollout),
        candidate_version=rollout.target.number if rolling and rollout.target else None,
        training=training.progress,
        serving=old.serving.model_copy(
            update={
                "target": rollout.target,
                "previous": rollout.previous,
                "desired": coverage.desired,
                "loaded": coverage.loaded,
                "failed": coverage.failed,
                "message": coverage.message,
            }
        ),
    )


def served_number(old: LoraAdapterStatus, rollout: Rollout) -> int | None:
    """Return the version that answers everywhere, or the last that did while some replica still answers with it."""
    if rollout.answering is not None:
        return rollout.answering.number
    still = {
        version.number
        for version, coverage in ((rollout.target, rollout.coverage), (rollout.previous, rollout.previous_coverage))
        if version is not None and coverage.loaded > 0
    }
    return old.served_version if old.served_version in still else None


def rollout_requeue(rollout: Rollout, seen: AdapterObserved) -> float | None:
    """Return seconds until the pods are asked again."""
    coverage, target = rollout.coverage, rollout.target
    if target is None or (coverage.complete and rollout.previous is None):
        return None
    if coverage.failed or coverage.desired == 0:
        return WATCHING_SECONDS
    up = any(pod.reachable for pod in seen.pods if pod.base_digest == target.base_digest)
    return ROLLING_SECONDS if up else STARTING_SECONDS


def soonest(*delays: float | None) -> float | None:
    """Return the shortest of the delays that are given."""
    return min((delay for delay in delays if delay is not None), default=None)
