"""Jobs and their pods, as the plans see them. Everything that a pod says is untrusted input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from graft_operator.manifests import labels
from graft_operator.plan.observed import JobObserved, JobState

Object = Mapping[str, Any]

WAITING_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff"}
)
"""Reasons for which a container waits that a person wants to know of."""

MESSAGE_LIMIT: Final = 600
REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


def job_observed(job: Object, pods: Iterable[Object]) -> JobObserved:
    """Return the Job and what its newest pod says."""
    metadata = job["metadata"]
    own = [pod for pod in pods if pod["metadata"].get("labels", {}).get("job-name") == metadata["name"]]
    own.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    state, ended = job_state(job)
    outcome = next((said for pod in own if (said := termination_of(pod))), {})
    return JobObserved(
        name=metadata["name"],
        uid=metadata["uid"],
        recipe=metadata.get("annotations", {}).get(labels.RECIPE, ""),
        state=state,
        ended_time=_time(ended.get("lastTransitionTime")) if ended else None,
        failure_reason=str(ended.get("reason", "")) if ended and state == "Failed" else "",
        outcome_reason=_reason(outcome.get("reason")),
        outcome_message=_outcome_message(outcome),
        waiting=next((problem for pod in own[:1] if (problem := pod_problem(pod))), ""),
    )


def job_state(job: Object) -> tuple[JobState, Object | None]:
    """Return the state of a Job, and the condition that ended it."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") in ("Failed", "FailureTarget"):
            return "Failed", condition
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return "Succeeded", condition
    return "Active", None


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
