"""How a training fails, and what becomes of it.

| reason | seen by | what becomes of it |
|---|---|---|
| InvalidConfig, BadDataset, BaseMismatch, Diverged | exit 64 to 67 | stalls: only another spec, base or dataset helps |
| MergeMismatch | exit 71 | stalls: the same weights would be merged again |
| OutOfMemory | exit 69, or OOMKilled again and again | another Job with a smaller micro-batch; stalls at one row |
| DeadlineExceeded | the Job's activeDeadlineSeconds | stalls; a higher deadline goes on from the checkpoint |
| RegistryUnavailable, Crashed, TrainingFailed | exit 68, or any other | its Job retries ever later, then rests |
| VersionMissing | a Job that succeeded without a version | rests, then trains again |
| Preempted, WorkerLost, Unschedulable, ImagePullFailed, Queued | an active Job | waited for: see `running.py` |
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.conditions import Fact, no
from graft_operator.api.training import Training
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY
from graft_operator.manifests.training_job import pod_settings_digest
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.snapshot import AdapterSnapshot, JobObserved
from graft_operator.plan.training.decision import TrainingDecision

DEADLINE: Final = "DeadlineExceeded"

FINAL: Final = frozenset({"InvalidConfig", "BadDataset", "BaseMismatch", "Diverged", "MergeMismatch", DEADLINE})
"""Failures that trying again unchanged can't mend."""

RETRY_SECONDS: Final = 300.0
"""How long a Job that has used up its own retries rests before it is created anew."""


def job_is_outdated(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """More memory, another node selector or a higher deadline are for the Job that got stuck without them."""
    job, wanted = job_of_recipe(seen), pod_settings_digest(seen.adapter.spec)
    if job is None or not is_stuck(job) or job.pod_settings in ("", wanted):
        return None
    old = [item for item in seen.jobs if item.recipe == seen.recipe and item.pod_settings != wanted]
    fact = no("PodSettingsChanged", f"Job {job.name} is made anew, and goes on from its last checkpoint")
    deletions = tuple(DeleteObject("Job", item.name, item.uid) for item in old)
    return TrainingDecision(trained=fact, waiting=fact, actions=deletions, requeue_after=1)


def is_stuck(job: JobObserved) -> bool:
    """Whether the Job has failed, or its pod waits for something that may never come."""
    return job.state == "Failed" or (job.state == "Active" and bool(job.waiting or job.suspended))


def training_has_failed(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """What can't be mended stalls and names the field; want of memory has its own way; the rest rests."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Failed":
        return None
    reason, message = failure_of(job)
    if reason == OUT_OF_MEMORY:
        return memory_is_exhausted(seen, job)
    if reason in FINAL:
        fact = no(reason, f"{message}; to try again unchanged, delete Job {job.name}")
        return TrainingDecision(trained=fact, stalled=fact)
    return begin_again(job, no(reason, f"{message}; tried again {after_rest(job)}"), now)


def memory_is_exhausted(seen: AdapterSnapshot, job: JobObserved) -> TrainingDecision | None:
    """Stall where a forward pass can't get smaller; None where a Job with a smaller one is due.

    Of several pods some may still be on their way out: a recipe never has two trainers at once.
    """
    if smaller_batch(batch_of(seen, job)) is not None:
        if not job.pods_running:
            return None
        fact = no(OUT_OF_MEMORY, f"Job {job.name} ran out of memory; the next one waits for its pods to end")
        return TrainingDecision(trained=fact, waiting=fact, requeue_after=3)
    fact = no(
        OUT_OF_MEMORY,
        f"spec.training.batchSize: one row per forward pass is too much ({job.outcome_message}); use method QLoRA,"
        " lower spec.training.maxSequenceLength, or give more memory in spec.pod.resources",
    )
    return TrainingDecision(trained=fact, stalled=fact)


def version_has_vanished(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """A Job succeeds only after its version is committed, and the registry was read after the Job: it is lost."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Succeeded":
        return None
    message = f"Job {job.name} succeeded, but its version is not in the registry; trained again {after_rest(job)}"
    return begin_again(job, no("VersionMissing", message), now)


def begin_again(job: JobObserved, fact: Fact, now: datetime) -> TrainingDecision:
    """Let the ended Job rest, then delete it: the next pass creates it anew."""
    rest = RETRY_SECONDS - (now - job.ended_time).total_seconds() if job.ended_time else 0.0
    if rest > 0:
        return TrainingDecision(trained=fact, waiting=fact, requeue_after=rest)
    return TrainingDecision(
        trained=fact, waiting=fact, actions=(DeleteObject("Job", job.name, job.uid),), requeue_after=1
    )


def after_rest(job: JobObserved) -> str:
    """Return when a Job has rested. A point in time: "in 4 minutes" would be a new status with every look."""
    return f"after {job.ended_time + timedelta(seconds=RETRY_SECONDS):%H:%M:%S} UTC" if job.ended_time else "now"


def failure_of(job: JobObserved) -> tuple[str, str]:
    """Return (reason, message) of a failed Job; the trainer's own words win over the Job's, but for the deadline."""
    if job.failure_reason == DEADLINE:
        return DEADLINE, (
            f"spec.training.deadlineSeconds: Job {job.name} took longer; raise it, and the training goes on from its"
            " last checkpoint"
        )
    reason = job.outcome_reason or "TrainingFailed"
    return reason, job.outcome_message or f"Job {job.name} failed ({job.failure_reason}); see its pod's log"


def smaller_batch(rows: int) -> int | None:
    """Return the largest divisor of ``rows`` that is at most half of them; None below one row.

    A divisor, so that the rows of an optimizer step can stay exactly the same: 6 rows become 3, 5 become 1.
    """
    return next((part for part in range(rows // 2, 0, -1) if rows % part == 0), None)


def with_batch(training: Training, rows: int) -> Training:
    """Return the hyperparameters with ``rows`` per forward pass and as many rows per optimizer step as before."""
    passes = training.gradient_accumulation * (training.batch_size // rows)
    return training.model_copy(update={"batch_size": rows, "gradient_accumulation": passes})


def batch_of(seen: AdapterSnapshot, job: JobObserved) -> int:
    """Return the rows per forward pass that a Job was made with."""
    return job.micro_batch or seen.adapter.spec.training.batch_size


def job_of_recipe(seen: AdapterSnapshot) -> JobObserved | None:
    """Return the Job that trains the current recipe: of several, the one with the smallest batch.

    Those before it ran out of memory. They stay as long as the recipe does: they are what tells an operator that was
    restarted how small the batch has to be.
    """
    own = [job for job in seen.jobs if job.recipe == seen.recipe]
    return min(own, key=lambda job: batch_of(seen, job), default=None)


def due_batch(seen: AdapterSnapshot) -> int:
    """Return the rows per forward pass that the next Job of the recipe is made with."""
    job = job_of_recipe(seen)
    if job is None:
        return seen.adapter.spec.training.batch_size
    rows = batch_of(seen, job)
    has_overflowed = job.state == "Failed" and job.outcome_reason == OUT_OF_MEMORY
    return (smaller_batch(rows) or rows) if has_overflowed else rows


def lowered_batch(seen: AdapterSnapshot) -> int | None:
    """Return :func:`due_batch` where it is below the user's."""
    rows = due_batch(seen)
    return rows if rows < seen.adapter.spec.training.batch_size else None
