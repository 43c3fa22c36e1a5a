"""Jobs and their pods, as the plans see them. Everything that a pod says is untrusted input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from graft_operator.manifests import labels
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY, REASONS, WORKER_LOST
from graft_operator.plan.snapshot import JobObserved, JobState

Object = Mapping[str, Any]

WAITING_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff"}
)
"""Reasons for which a container waits that a person wants to know of."""

MESSAGE_LIMIT: Final = 600
REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
COUNT: Final = re.compile(r"[1-9][0-9]{0,6}")
EXIT_CODE: Final = re.compile(r"Container trainer for pod \S+ failed with exit code (?P<code>[0-9]{1,3}) ")
"""The Job controller's message on a rule of podFailurePolicy that has ended the Job."""


def job_observed(job: Object, pods: Iterable[Object]) -> JobObserved:
    """Return the Job and what its newest pod says."""
    metadata = job["metadata"]
    own = [pod for pod in pods if pod["metadata"].get("labels", {}).get("job-name") == metadata["name"]]
    own.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    state, ended = job_state(job)
    # A pod that lost a worker knows less than the pod of that worker.
    said = sorted(filter(None, map(outcome_of, own)), key=lambda outcome: outcome.get("reason") == WORKER_LOST)
    outcome = next(iter(said), None) or job_outcome(ended)
    annotations = metadata.get("annotations", {})
    return JobObserved(
        name=metadata["name"],
        uid=metadata["uid"],
        recipe=annotations.get(labels.RECIPE, ""),
        state=state,
        ended_time=_time(ended.get("lastTransitionTime")) if ended else None,
        failure_reason=str(ended.get("reason", "")) if ended and state == "Failed" else "",
        outcome_reason=_reason(outcome.get("reason")),
        outcome_message=_outcome_message(outcome),
        waiting=next((problem for pod in own if not has_ended(pod) and (problem := pod_problem(pod))), ""),
        suspended=bool(job.get("spec", {}).get("suspend")),
        pods_running=not all(map(has_ended, own)),
        pods_ended=bool(own) and all(map(has_ended, own)),
        micro_batch=_count(annotations.get(labels.MICRO_BATCH)),
        pod_settings=annotations.get(labels.POD_SETTINGS, ""),
    )


def job_state(job: Object) -> tuple[JobState, Object | None]:
    """Return the state of a Job, and the condition that ended it."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") in ("Failed", "FailureTarget"):
            return "Failed", condition
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return "Succeeded", condition
    return "Active", None


def outcome_of(pod: Object) -> Object:
    """Return how the pod ended: what it said itself, or that the kernel killed it for want of memory."""
    return termination_of(pod) or memory_kill(pod)


def memory_kill(pod: Object) -> Object:
    """Return the outcome of a pod whose main container the kernel killed for want of memory; empty otherwise.

    Only a container that reached its own limit is told so. One that was killed because its node ran out of memory looks
    like one that a person killed, and is simply tried again.
    """
    for status in pod.get("status", {}).get("containerStatuses", []):
        ended = status.get("state", {}).get("terminated", {})
        if ended.get("reason") == "OOMKilled":
            name = status.get("name", "")
            limit = _memory_limit(pod, name)
            bound = f"its limit of {limit} (resources.limits.memory)" if limit else "its limit"
            message = f"the kernel killed container {name}, which needed more than {bound}"
            return {"outcome": "Failed", "reason": OUT_OF_MEMORY, "message": message}
    return {}


def job_outcome(ended: Object | None) -> Object:
    """Return what the Job controller knows of the exit code, which outlives the pod."""
    message = str(ended.get("message", "")) if ended else ""
    found = EXIT_CODE.search(message)
    reason = REASONS.get(int(found["code"])) if found else None
    return {"outcome": "Failed", "reason": reason, "message": message} if reason else {}


def termination_of(pod: Object) -> Object:
    """Return the JSON of the pod's termination message; empty when there is none, or none of ours."""
    for status in _container_statuses(pod):
        for state in (status.get("state", {}), status.get("lastState", {})):
            message = state.get("terminated", {}).get("message")
            if not message:
                continue
            try:
                said = json.loads(message)
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict) and "outcome" in said:
                return said
    return {}


def pod_problem(pod: Object) -> str:
    """Return why the pod does not run, as ``Reason: message``; empty when nothing stands in its way."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {_text(condition.get('message'))}"
    for status in _container_statuses(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in WAITING_REASONS:
            said = waiting.get("message") or status.get("lastState", {}).get("terminated", {}).get("message", "")
            return f"{waiting['reason']}: container {status.get('name')}: {_text(said)}"
    return ""


def has_ended(pod: Object) -> bool:
    """Whether the pod will never run again."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def _memory_limit(pod: Object, container: str) -> str:
    containers = pod.get("spec", {}).get("containers", [])
    own: Object = next((item for item in containers if item.get("name") == container), {})
    return str(own.get("resources", {}).get("limits", {}).get("memory", ""))


def _count(value: Any) -> int | None:
    """Return a positive number that an annotation holds; None when it is missing or was edited into something else."""
    return int(value) if isinstance(value, str) and COUNT.fullmatch(value) else None


def _container_statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]


def _outcome_message(outcome: Object) -> str:
    message, field = _text(outcome.get("message")), _text(outcome.get("field"))
    return f"{field}: {message}" if field and not message.startswith(field) else message


def _reason(value: Any) -> str:
    """Return a word that the API server takes for a condition's reason; empty when the pod said something else."""
    return value if isinstance(value, str) and REASON.fullmatch(value) else ""


def _text(value: Any) -> str:
    return str(value)[:MESSAGE_LIMIT] if isinstance(value, str) else ""


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
