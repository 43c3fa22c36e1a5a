"""A training Job, or one that imports, that is on its way: how far it is, or what it waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.api.conditions import no
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.pod_hints import settings_of
from graft_operator.plan.pod_problems import problem_of_job
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.current_job import current_job, micro_batch_of
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.micro_batch import with_batch
from graft_operator.plan.training.retry_policy import lingering_jobs

IMPORTED: Final = "Imported"
"""Reason of the Jobs that import what was trained elsewhere."""

PREPARES_ONLY: Final = "this Job prepares the rows, and the training asks for what spec.pod says after it"


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
    if (problem := problem_of_job(job, now, settings_of(job))) is not None:
        reason, message = problem
        # Who asked for a GPU looks for one.
        is_mistaken = job.prepares and reason == "Unschedulable"
        return reason, f"{message}; {PREPARES_ONLY}" if is_mistaken else message
    if job.pods_ended and job.outcome_reason:
        is_anew = job.prepares or job.reason == IMPORTED
        goes_on = "tries again" if is_anew else "goes on from the last checkpoint"
        return job.outcome_reason, f"{job.outcome_message}; the next pod {goes_on}"
    if job.prepares:
        return "Preparing", f"prepares the rows, {progress.prepared}" if progress.prepared else "prepares the rows"
    if job.reason == IMPORTED:
        return "Importing", progress.state
    lowered = ""
    if micro_batch_of(seen, job) < seen.adapter.spec.training.batch_size:
        lowered = f" (batchSize {progress.batch_size} × {progress.gradient_accumulation} after running out of memory)"
    if progress.prepared:
        return "Training", f"{progress.state}, {progress.prepared}{lowered}"
    steps = f", step {progress.step} of {progress.max_steps}" if progress.max_steps else ""
    return "Training", f"{progress.state}{steps}{lowered}"


def progress_of(seen: AdapterSnapshot, job: JobObserved) -> TrainingProgress:
    """Return the progress for status: what the trainer last said, if it was about this recipe."""
    begun = TrainingProgress(job=job.name, recipe=job.recipe, reason=job.reason, warm_start=seen.warm_start)
    said = seen.progress if seen.progress is not None and seen.progress.recipe == job.recipe else None
    loads = said is not None and said.state == "Loading"
    rows = {"rows": said.rows, "total_rows": said.total_rows} if said is not None and loads else {}
    if job.prepares:  # what else was said is of a training whose Job is gone
        return begun if job.awaits_pod else begun.model_copy(update={"state": "Preparing", **rows})
    training = with_batch(seen.adapter.spec.training, micro_batch_of(seen, job))
    shape = {
        "batch_size": training.batch_size,
        "gradient_accumulation": training.gradient_accumulation,
        "workers": seen.adapter.spec.pod.worker_count,
    }
    if said is None:
        return begun.model_copy(update=shape)
    reached = {
        "state": said.state,
        "step": said.step,
        "max_steps": said.max_steps or 0,
        "loss": None if said.loss is None else f"{said.loss:.4f}",
        "eta_seconds": None if said.eta_seconds is None else round(said.eta_seconds),
    }
    if job.awaits_pod:  # what was said is of the Job that prepared the rows, or of a pod that is gone
        return begun.model_copy(update=shape | reached | {"state": begun.state, "eta_seconds": None})
    return begun.model_copy(update=shape | rows | reached)


def next_look(progress: TrainingProgress) -> float:
    """Return seconds until the trainer's progress is read again: often when it is about to publish."""
    if progress.state in ("Evaluating", "Publishing", "Published"):
        return 1.0
    return seconds_between_looks(progress.eta_seconds)


def seconds_between_looks(eta_seconds: float | None) -> float:
    """Return after how many seconds a run is looked at again: a quarter of what it has before it, from 1 to 15."""
    return 3.0 if eta_seconds is None else min(15.0, max(1.0, eta_seconds / 4))
