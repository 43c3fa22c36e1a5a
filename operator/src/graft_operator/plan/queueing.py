"""Why a Job is held: in Kueue's own words, with what helps; or that there is no Kueue that would let it run."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from graft_operator.plan.jobs import JobObserved, Queueing
from graft_operator.plan.pod_hints import PREPARATION, TRAINING, Hints, hint

QUEUED: Final = "Queued"
"""Reason of conditions while a Job is held."""

NAMING_A_QUEUE: Final = (TRAINING, PREPARATION)
"""Where an adapter names a queue."""

FIRST_WORKLOAD: Final = timedelta(seconds=30)
"""How long Kueue may take to notice a Job before anybody is told that it has not."""

HELD: Final[Hints] = (
    (
        re.compile(r"LocalQueue (?P<what>\S+) doesn't exist"),
        "make the LocalQueue {what} in this namespace, or {another}",
    ),
    (
        re.compile(r"(?P<what>(Local|Cluster)Queue \S+) is inactive"),
        "whoever runs the cluster has stopped {what}, or what it needs is missing: its own status says which",
    ),
    (
        re.compile(r"ClusterQueue (?P<what>\S+) (doesn't exist|not found)"),
        "the LocalQueue belongs to ClusterQueue {what}, which is not there: whoever runs the cluster makes it",
    ),
    (
        re.compile(r"> maximum capacity"),
        "the queue never has so much: lower {pod}.resources, have its quota raised, or {another}",
    ),
    (
        re.compile(r"resource (?P<what>\S+) unavailable in ClusterQueue"),
        "the queue has no quota of {what} at all: have the resource added to it, or {another}",
    ),
    (
        re.compile(r"namespace doesn't match ClusterQueue selector"),
        "the queue is not for this namespace: have it opened, or {another}",
    ),
    (
        re.compile(r"its Workload \S+ is finished"),
        "Kueue could not let it run, and does not try again: once that is mended, delete the Job, and it is made anew",
    ),
    (
        re.compile(r"[Dd]eactivated"),
        "Kueue does not try it again by itself: set spec.active of its Workload to true, or change {pod}",
    ),
)
"""Parts of what Kueue says of a Workload, and what helps. Its wording is that of its scheduler and controllers."""


def why_held(job: JobObserved, now: datetime, pod: str = TRAINING) -> str:
    """Return why a suspended Job is held; ``pod`` is where the settings of its pods are."""
    if (found := job.queueing) is None:
        return f"is suspended by somebody else{by_kueue(pod)}"
    if found.is_admitted:
        return f"is admitted by LocalQueue {found.queue}, and Kueue is about to let it run"
    waits = f"waits until LocalQueue {found.queue} admits it"
    if found.kueue == "Missing":
        return f"{waits}, but this cluster has no Kueue: {without_kueue(job, pod)}"
    if found.kueue == "Forbidden":
        return f"{waits}; why it does not can't be told: set rbac.workloads of Graft's chart to true"
    if found.kueue == "TooLarge":
        return f"{waits}; why it does not can't be told: some Workload of the cluster is too large to be read"
    if found.is_kept:
        return f"{waits}, but {kept_by_kueue(found)}"
    if found.says:
        help_ = hint(found.says, pod, HELD, another=another_queue(pod))
        return f"{waits}: {found.says}; {help_}" if help_ else f"{waits}: {found.says}"
    is_old = job.created_time is not None and now - job.created_time >= FIRST_WORKLOAD
    return f"{waits}; {unnoticed(pod)}" if found.kueue == "Served" and not found.workload and is_old else waits


def by_kueue(pod: str) -> str:
    """Return what lets a Job run that is in no queue, though the training after it may be in one."""
    if pod != PREPARATION:
        return ""
    return f"; where that is a Kueue that manages Jobs without a queue, name one in {pod}.queueName"


def another_queue(pod: str) -> str:
    """Return how a Job gets into another queue: imports name none and take their namespace's default."""
    if pod in NAMING_A_QUEUE:
        return f"name another one in {pod}.queueName"
    return "delete the Job once the namespace's default LocalQueue is another one"


def without_kueue(job: JobObserved, pod: str) -> str:
    """Return what to do about a Job that nobody will ever let run."""
    anew = f"delete Job {job.name}, and it is made anew"
    return f"install Kueue, or empty {pod}.queueName; where that is empty, {anew}" if pod in NAMING_A_QUEUE else anew


def unnoticed(pod: str) -> str:
    """Return what may keep Kueue from making a Workload of a Job, of which it tells in its log alone."""
    manages = "Kueue has made no Workload of it: see that its controller runs, and that it manages this namespace"
    if pod != TRAINING:
        return manages
    return f"{manages}; {pod}.workloadPriorityClassName, if set, has to name a WorkloadPriorityClass that is there"


def kept_by_kueue(found: Queueing) -> str:
    """Return what to do about a Workload that is being deleted and that Kueue does not let go."""
    return (
        f"its Workload {found.workload} is being deleted and waits for Kueue to let it go: see that Kueue's controller"
        " runs; where Kueue is gone for good, take the Workload's finalizers away"
    )
