"""A training Job that is on its way: how far it is, or what it waits for."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.api.conditions import no
from graft_operator.plan.snapshot import AdapterSnapshot, JobObserved
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.failures import batch_of, job_of_recipe, with_batch


def training_is_running(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """The Job of the recipe runs, or waits for its turn or its pod."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Active":
        return None
    progress = progress_of(seen, job)
    reason, detail = state_of(seen, job, progress)
    fact = no(reason, f"Job {job.name}: {detail}")
    return TrainingDecision(trained=fact, waiting=fact, progress=progress, requeue_after=next_look(progress))


def state_of(seen: AdapterSnapshot, job: JobObserved, progress: TrainingProgress) -> tuple[str, str]:
    """Return (reason, message) of an active Job."""
    if job.suspended:
        queue = seen.adapter.spec.pod.queue_name
        return "Queued", f"waits until LocalQueue {queue} admits it" if queue else "is suspended by somebody else"
    if job.waiting:
        return problem_of(job.waiting)
    if job.pods_ended and job.outcome_reason:
        return job.outcome_reason, f"{job.outcome_message}; the next pod goes on from the last checkpoint"
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
    if progress.eta_seconds is None:
        return 3.0
    return min(15.0, max(1.0, progress.eta_seconds / 4))


IMAGE_REASONS: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName"})
"""Kubernetes takes turns with these while it tries again; to people they are one state."""

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


def problem_of(waiting: str) -> tuple[str, str]:
    """Return (reason, message) of a pod that waits, given ``Reason: message`` in Kubernetes' own words."""
    reason = waiting.partition(":")[0]
    if reason in IMAGE_REASONS:
        return "ImagePullFailed", f"{waiting}; the image is a value of Graft's chart: check it, and the node's access"
    help_ = hint(waiting) if reason == "Unschedulable" else ""
    return reason, f"{waiting}; {help_}" if help_ else waiting
