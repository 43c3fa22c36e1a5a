"""A training Job, or one that imports, that is on its way: how far it is, or what it waits for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.api.conditions import no
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.memory import batch_of, current_job, with_batch
from graft_operator.plan.training.retry_policy import lingering_jobs

IMPORTED: Final = "Imported"
"""Reason of the Jobs that import what was trained elsewhere."""

FIRST_POD: Final = timedelta(seconds=30)
"""How long the Job controller may take to make a pod before anybody is told that there is none."""


def training_is_running(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """The Job of the recipe runs, or waits for its turn or its pod."""
    job = current_job(seen)
    if job is None or job.state != "Active":
        return None
    progress = progress_of(seen, job)
    reason, detail = state_of(seen, job, progress, now)
    fact = no(reason, f"Job {job.name}: {detail}")
    return TrainingDecision(
        trained=fact,
        waiting=fact,
        progress=progress,
        actions=lingering_jobs(seen),
        requeue_after=next_look(progress),
    )


def state_of(seen: AdapterSnapshot, job: JobObserved, progress: TrainingProgress, now: datetime) -> tuple[str, str]:
    """Return (reason, message) of an active Job."""
    if job.suspended:
        queue = seen.adapter.spec.pod.queue_name
        return "Queued", f"waits until LocalQueue {queue} admits it" if queue else "is suspended by somebody else"
    if (problem := problem_of_job(job, now)) is not None:
        return problem
    if job.pods_ended and job.outcome_reason:
        goes_on = "tries again" if job.reason == IMPORTED else "goes on from the last checkpoint"
        return job.outcome_reason, f"{job.outcome_message}; the next pod {goes_on}"
    if job.reason == IMPORTED:
        return "Importing", progress.state
    lowered = ""
    if batch_of(seen, job) < seen.adapter.spec.training.batch_size:
        lowered = f" (batchSize {progress.batch_size} × {progress.gradient_accumulation} after running out of memory)"
    return "Training", f"{progress.state}, step {progress.step} of {progress.max_steps}{lowered}"


def progress_of(seen: AdapterSnapshot, job: JobObserved) -> TrainingProgress:
    """Return the progress for status: what the trainer last said, if it was about this recipe."""
    training = with_batch(seen.adapter.spec.training, batch_of(seen, job))
    begun = TrainingProgress(
        job=job.name,
        recipe=job.recipe,
        reason=job.reason,
        warm_start=seen.warm_start,
        batch_size=training.batch_size,
        gradient_accumulation=training.gradient_accumulation,
        workers=seen.adapter.spec.pod.worker_count,
    )
    said = seen.progress
    if said is None or said.recipe != job.recipe:
        return begun
    return begun.model_copy(
        update={
            "state": said.state,
            "step": said.step,
            "max_steps": said.max_steps or 0,
            "loss": None if said.loss is None else f"{said.loss:.4f}",
            "eta_seconds": None if said.eta_seconds is None else round(said.eta_seconds),
        }
    )


def next_look(progress: TrainingProgress) -> float:
    """Return seconds until the trainer's progress is read again: often when it is about to publish."""
    if progress.state in ("Evaluating", "Publishing", "Published"):
        return 1.0
    return seconds_between_looks(progress.eta_seconds)


def seconds_between_looks(eta_seconds: float | None) -> float:
    """Return after how many seconds a run is looked at again: a quarter of what it has before it, from 1 to 15."""
    return 3.0 if eta_seconds is None else min(15.0, max(1.0, eta_seconds / 4))


REASONS_OF_PODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "FailedCreate": "PodsRefused",
        **dict.fromkeys(
            (
                "ImagePullBackOff",
                "ErrImagePull",
                "ErrImageNeverPull",
                "InvalidImageName",
                "ImageInspectError",
                "SignatureValidationFailed",
            ),
            "ImagePullFailed",
        ),
        **dict.fromkeys(("FailedMount", "FailedAttachVolume", "FailedMapVolume"), "MountFailed"),
    }
)
"""Our reasons for those of Kubernetes, which takes turns with several while it tries again; to people they are one."""

HINTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"untolerated taint"),
        "a node keeps pods away by a taint: add a toleration to spec.pod.tolerations if it is meant for training",
    ),
    (
        re.compile(r"Insufficient (?P<what>[a-z0-9.-]+/[a-z0-9._-]*[a-z0-9])"),
        "no node has so much {what} free: wait for it, lower spec.pod.resources.limits, or see that the node's device"
        " plugin runs",
    ),
    (
        re.compile(r"Insufficient (?P<what>cpu|memory|ephemeral-storage)"),
        "no node has so much {what} free: lower spec.pod.resources, or add a node",
    ),
    (
        re.compile(r"didn't match Pod's node affinity/selector"),
        "no other node has the labels that spec.pod.nodeSelector asks for",
    ),
    (
        re.compile(r'persistentvolumeclaim "(?P<what>[^"]+)" not found'),
        "apply the PersistentVolumeClaim {what}",
    ),
)
"""Parts of kube-scheduler's messages, and what helps. The wording is that of its plugins' ErrReason constants."""


def hint(scheduler_says: str) -> str:
    """Return what may help, sentence by sentence; empty where nothing is known."""
    found = [(pattern.search(scheduler_says), advice) for pattern, advice in HINTS]
    return "; ".join(advice.format(**match.groupdict()) for match, advice in found if match)


def problem_of_job(job: JobObserved, now: datetime) -> tuple[str, str] | None:
    """Return (reason, message) of what keeps an active Job's pod from running; None where nothing does.

    It is the same for a training and for an import.
    """
    if job.waiting:
        return problem_of(job.waiting)
    if not job.no_pods:
        return None
    if job.event:
        reason, message = problem_of(job.event)
        return reason, f"no pod of it can be created: {message}"
    if job.created_time is not None and now - job.created_time < FIRST_POD:
        return None
    return "PodPending", "no pod of it has been created yet, and the platform has not said why"


def problem_of(waiting: str) -> tuple[str, str]:
    """Return (reason, message) of a pod that waits, given ``Reason: message`` in Kubernetes' own words."""
    told, _, message = waiting.partition(": ")
    reason = REASONS_OF_PODS.get(told, told)
    if reason == "PodsRefused":
        return reason, message
    if reason == "ImagePullFailed":
        return reason, f"{waiting}; the image is a value of Graft's chart: check it, and the node's access"
    help_ = hint(waiting) if reason == "Unschedulable" else ""
    return reason, f"{waiting}; {help_}" if help_ else waiting
