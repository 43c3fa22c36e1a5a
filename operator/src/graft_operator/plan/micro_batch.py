"""The rows of one forward pass, which shrink when they don't fit into memory while a step sees as many rows as ever."""

from __future__ import annotations

from graft_operator.api.training import Training
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.observed import AdapterObserved, JobObserved


def smaller_batch(rows: int) -> int | None:
    """Return the largest divisor of ``rows`` that is at most half of them; None below one row.

    A divisor, so that the rows of an optimizer step can stay exactly the same: 6 rows become 3, 5 become 1.
    """
    return next((part for part in range(rows // 2, 0, -1) if rows % part == 0), None)


def with_batch(training: Training, rows: int) -> Training:
    """Return the hyperparameters with ``rows`` per forward pass and as many rows per optimizer step as before."""
    passes = training.gradient_accumulation * (training.batch_size // rows)
    return training.model_copy(update={"batch_size": rows, "gradient_accumulation": passes})


def batch_of(seen: AdapterObserved, job: JobObserved) -> int:
    """Return the rows per forward pass that a Job was made with."""
    return job.micro_batch or seen.adapter.spec.training.batch_size


def job_of_recipe(seen: AdapterObserved) -> JobObserved | None:
    """Return the Job that trains the current recipe: of several, the one with the smallest batch.

    Those before it ran out of memory. They stay as long as the recipe does: they are what tells an operator that was
    restarted how small the batch has to be.
    """
    own = [job for job in seen.jobs if job.recipe == seen.recipe]
    return min(own, key=lambda job: batch_of(seen, job), default=None)


def due_batch(seen: AdapterObserved) -> int:
    """Return the rows per forward pass that the next Job of the recipe is made with."""
    job = job_of_recipe(seen)
    if job is None:
        return seen.adapter.spec.training.batch_size
    rows = batch_of(seen, job)
    has_overflowed = job.state == "Failed" and job.outcome_reason == OUT_OF_MEMORY
    return (smaller_batch(rows) or rows) if has_overflowed else rows


def lowered_batch(seen: AdapterObserved) -> int | None:
    """Return :func:`due_batch` where it is below the user's."""
    rows = due_batch(seen)
    return rows if rows < seen.adapter.spec.training.batch_size else None
