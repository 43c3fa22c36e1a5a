"""Pods that the kubelet has ended for what they did themselves, again and again.

Their containers end as they are told to, by the code of a preemption, which no Job counts as a failure. So the Job's
controller makes one pod after the other: to it, a pod that has filled its disk looks like one that had to make room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graft_operator.plan.jobs import POD_EVICTED
from graft_operator.reconcilers.snapshots.containers import text

Object = Mapping[str, Any]

BY_THE_KUBELET: Final = frozenset({POD_EVICTED, "DeadlineExceeded"})
"""Reasons of a pod's status: it took more disk than its limits, or was there for longer than it may."""

DISRUPTED: Final = "DisruptionTarget"
"""Condition of a pod that had to go for others' sake: its node was short of something, or is drained."""


def ended_for_good(job: Object, pods: Sequence[Object]) -> Object:
    """Return the outcome of a Job that had as many such pods as it has retries, else nothing; the newest come first."""
    ended = [pod for pod in pods if was_ended_by_kubelet(pod)]
    retries = job.get("spec", {}).get("backoffLimit")
    if not ended or len(ended) < (retries if isinstance(retries, int) else 0):
        return {}
    status = ended[0]["status"]
    return {"outcome": "Failed", "reason": status["reason"], "message": text(status.get("message"))}


def was_ended_by_kubelet(pod: Object) -> bool:
    """Whether the kubelet has ended the pod, and not for the sake of others."""
    status = pod.get("status", {})
    disrupted = any(
        item.get("type") == DISRUPTED and item.get("status") == "True" for item in status.get("conditions", [])
    )
    return status.get("phase") == "Failed" and status.get("reason") in BY_THE_KUBELET and not disrupted
