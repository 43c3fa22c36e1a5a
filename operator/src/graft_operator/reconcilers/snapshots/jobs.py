"""Jobs and their pods, as the plans see them. Everything that a pod says is untrusted input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from graft_operator.manifests import labels
from graft_operator.manifests.jobs.exit_codes import REASONS, WORKER_LOST
from graft_operator.manifests.jobs.preparation_job import COMPONENT as PREPARATION
from graft_operator.plan.jobs import Interval, JobObserved, JobState, OccupiedName, Queueing
from graft_operator.plan.queueing import kept_by_kueue
from graft_operator.reconcilers.snapshots.containers import (
    OWN_CONTAINERS,
    digest,
    exit_code,
    has_ended,
    others_run,
    outcome_message,
    outcome_of,
    own_end,
    own_statuses,
    text,
    word,
)
from graft_operator.reconcilers.snapshots.evictions import ended_for_good
from graft_operator.reconcilers.snapshots.pod_events import newest_warning, waiting_of
from graft_operator.routing import is_terminating

Object = Mapping[str, Any]

NO_EVENTS: Final[Mapping[str, Iterable[Object]]] = MappingProxyType({})

COUNT: Final = re.compile(r"[1-9][0-9]{0,6}")
EXIT_CODE: Final = re.compile(r"Container trainer for pod \S+ failed with exit code (?P<code>[0-9]{1,3}) ")
"""The Job controller's message on a rule of podFailurePolicy that has ended the Job."""


def job_observed(
    job: Object, pods: Iterable[Object], events: Mapping[str, Iterable[Object]] = NO_EVENTS
) -> JobObserved:
    """Return the Job and what its newest pod says. ``events`` are those of the Job and of its pods, by their UIDs."""
    metadata, own = job["metadata"], newest_first(pods, job["metadata"]["name"])
    state, ended = job_state(job)
    ended_time, lingering = _time(ended.get("lastTransitionTime")) if ended else None, lingering_pods(own)
    lingers = state == "Active" and bool(lingering)
    if lingers:
        state, ended_time = state_of_lingering(job, own, lingering)
    ended_by_kubelet = ended_for_good(job, own) if state == "Active" else {}
    if ended_by_kubelet:
        state, lingers = "Failed", True
    outcome = ended_by_kubelet or said_by(own) or job_outcome(ended)
    suspended = bool(job.get("spec", {}).get("suspend"))
    up = [pod for pod in own if not has_ended(pod) and own_end(pod) is None]
    return JobObserved(
        name=metadata["name"],
        uid=metadata["uid"],
        state=state,
        created_time=_time(metadata.get("creationTimestamp")),
        ended_time=ended_time,
        failure_reason=word(ended.get("reason")) if ended and state == "Failed" else "",
        outcome_reason=word(outcome.get("reason")),
        outcome_message=outcome_message(outcome),
        outcome_digest=digest(outcome.get("digest")),
        outcome_revision=text(outcome.get("revision")),
        no_pods=state == "Active" and not suspended and not own,
        event=newest_warning(events.get(metadata["uid"], ())),
        waiting=next((problem for pod in up if (problem := waiting_of(pod, events.get(_uid(pod), ())))), ""),
        idle_since=idle_since(job, own),
        suspended=suspended,
        pods_running=bool(up),
        pods_ended=bool(own) and not up,
        lingers=lingers,
        ran=tuple(interval for pod in own if (interval := ran(pod)) is not None),
        image=own_image(job),
        **told_of_itself(metadata),
    )


def told_of_itself(metadata: Object) -> dict[str, Any]:
    """Return what the Job's labels and annotations say: what it is for, and what it was made with."""
    own, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    return {
        "recipe": annotations.get(labels.RECIPE, ""),
        "reason": word(own.get(labels.REASON)),
        "prepares": own.get(labels.COMPONENT) == PREPARATION,
        "rows": digest(annotations.get(labels.ROWS)),
        "micro_batch": _count(annotations.get(labels.MICRO_BATCH)),
        "pod_settings": annotations.get(labels.POD_SETTINGS, ""),
    }


def newest_first(pods: Iterable[Object], job_name: str) -> list[Object]:
    """Return the pods of a Job, the newest first."""
    own = [pod for pod in pods if pod["metadata"].get("labels", {}).get("job-name") == job_name]
    return sorted(own, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def job_state(job: Object) -> tuple[JobState, Object | None]:
    """Return the state of a Job, and the condition that ended it."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") in ("Failed", "FailureTarget"):
            return "Failed", condition
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return "Succeeded", condition
    return "Active", None


def idle_since(job: Object, pods: Sequence[Object]) -> datetime | None:
    """Return since when a Job waits, if it does: when it, or the newest of its pods, was made, or when it was held."""
    conditions = job.get("status", {}).get("conditions", [])
    held = [item for item in conditions if item.get("type") == "Suspended" and item.get("status") == "True"]
    made = [item["metadata"].get("creationTimestamp") for item in (job, *pods)]
    times = map(_time, (*made, *(item.get("lastTransitionTime") for item in held)))
    return max((time for time in times if time is not None), default=None)


def lingering_pods(pods: Iterable[Object]) -> list[Object]:
    """Return the pods whose own container has ended and that are yet not about to end, for others in them run on."""
    return [pod for pod in pods if own_end(pod) is not None and others_run(pod) and not is_terminating(pod)]


def state_of_lingering(
    job: Object, pods: Sequence[Object], lingering: Sequence[Object]
) -> tuple[JobState, datetime | None]:
    """Return the state of a Job that its controller waits for, though its own containers have ended."""
    ends = [end for pod in pods if (end := own_end(pod)) is not None]
    if any(exit_code(own_end(pod) or {}) != 0 for pod in lingering):
        state: JobState = "Failed"
    elif sum(exit_code(end) == 0 for end in ends) >= int(job.get("spec", {}).get("completions") or 1):
        state = "Succeeded"
    else:
        return "Active", None
    times = [time for end in ends if (time := _time(end.get("finishedAt"))) is not None]
    return state, max(times, default=None)


def occupied_name(job: Object, owner_uid: str, queueing: Queueing | None = None) -> OccupiedName | None:
    """Return why nothing else may have the Job's name; None for one of that owner that stays.

    A Job outlives its owner for a moment: the garbage collector takes it once it has seen that the owner is gone. One
    that was orphaned, or that a finalizer keeps, stays until a person does something.
    """
    metadata = job["metadata"]
    owners = [item for item in metadata.get("ownerReferences") or () if item.get("controller")]
    if is_terminating(job):
        kept = [item for item in metadata.get("finalizers") or () if item != "foregroundDeletion"]
        message = f"kept by its finalizers {', '.join(kept)}" if kept else "it ends once its pods have"
        if queueing is not None and queueing.is_kept:
            message = f"it ends once its pods have, and {kept_by_kueue(queueing)}"
        return OccupiedName(name=metadata["name"], ending=True, message=message)
    if any(item.get("uid") == owner_uid for item in owners):
        return None
    former = any(item.get("kind") in ("LoraAdapter", "BaseModel") for item in owners)
    whose = ", ".join(f"{item.get('kind')} {item.get('name')}" for item in owners) or "nobody"
    message = f"it belongs to a former {whose}" if former else f"it belongs to {whose}"
    return OccupiedName(name=metadata["name"], ending=former, message=message)


def said_by(pods: Iterable[Object]) -> Object | None:
    """Return what the first pod says that says something. One that lost a worker knows less than that worker's pod."""
    said = filter(None, map(outcome_of, pods))
    return min(said, key=lambda outcome: outcome.get("reason") == WORKER_LOST, default=None)


def job_outcome(ended: Object | None) -> Object:
    """Return what the Job controller knows of the exit code, which outlives the pod."""
    message = str(ended.get("message", "")) if ended else ""
    found = EXIT_CODE.search(message)
    reason = REASONS.get(int(found["code"])) if found else None
    return {"outcome": "Failed", "reason": reason, "message": message} if reason else {}


def own_image(job: Object) -> str:
    """Return the image of the container by which the Job is judged."""
    containers = job.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return next((str(item.get("image", "")) for item in containers if item.get("name") in OWN_CONTAINERS), "")


def ran(pod: Object) -> Interval | None:
    """Return from when until when the pod's own container has run; None where it has not started."""
    for status in own_statuses(pod):
        state = status.get("state", {})
        begun = state.get("running") or state.get("terminated") or {}
        if (start := _time(begun.get("startedAt"))) is not None:
            return start, _time(begun.get("finishedAt"))
    return None


def _uid(pod: Object) -> str:
    return str(pod["metadata"].get("uid", ""))


def _count(value: Any) -> int | None:
    """Return a positive number that an annotation holds; None when it is missing or was edited into something else."""
    return int(value) if isinstance(value, str) and COUNT.fullmatch(value) else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
