"""A training Job that is on its way: how far it is, or what it waits for."""

from __future__ import annotations

from datetime import datetime

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.api.conditions import no
from graft_operator.plan.micro_batch import batch_of, job_of_recipe, with_batch
from graft_operator.plan.observed import AdapterObserved, JobObserved
from graft_operator.plan.scheduling import obstacle
from graft_operator.plan.verdicts import Verdict


def training_is_running(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """The Job of the recipe runs, or waits for its turn or its pod."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Active":
        return None
    progress = progress_of(seen, job)
    reason, detail = state_of(seen, job, progress)
    fact = no(reason, f"Job {job.name}: {detail}")
    return Verdict(trained=fact, waiting=fact, progress=progress, requeue_after=next_look(progress))


def state_of(seen: AdapterObserved, job: JobObserved, progress: TrainingProgress) -> tuple[str, str]:
    """Return (reason, message) of an active Job."""
    if job.suspended:
        queue = seen.adapter.spec.pod.queue_name
        return "Queued", f"waits until LocalQueue {queue} admits it" if queue else "is suspended by somebody else"
    if job.waiting:
        return obstacle(job.waiting)
    if job.pods_ended and job.outcome_reason:
        return job.outcome_reason, f"{job.outcome_message}; the next pod goes on from the last checkpoint"
    lowered = ""
    if batch_of(seen, job) < seen.adapter.spec.training.batch_size:
        lowered = f" (batchSize {progress.batch_size} × {progress.gradient_accumulation} after running out of memory)"
    return "Training", f"{progress.state}, step {progress.step} of {progress.max_steps}{lowered}"


def progress_of(seen: AdapterObserved, job: JobObserved) -> TrainingProgress:
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
