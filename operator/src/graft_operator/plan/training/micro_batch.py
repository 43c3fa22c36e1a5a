"""A training that ran out of memory is made anew with a smaller micro-batch, and as many rows per optimizer step."""

from __future__ import annotations

from graft_operator.api.training import Training
from graft_operator.manifests.jobs.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.current_job import current_training, micro_batch_of


def smaller_batch(rows: int) -> int | None:
    """Return the largest divisor of ``rows`` that is at most half of them; None below one row.

    A divisor, so that the rows of an optimizer step can stay exactly the same: 6 rows become 3, 5 become 1.
    """
    return next((part for part in range(rows // 2, 0, -1) if rows % part == 0), None)


def with_batch(training: Training, rows: int) -> Training:
    """Return the hyperparameters with ``rows`` per forward pass and as many rows per optimizer step as before."""
    passes = training.gradient_accumulation * (training.batch_size // rows)
    return training.model_copy(update={"batch_size": rows, "gradient_accumulation": passes})


def next_micro_batch(seen: AdapterSnapshot) -> int:
    """Return the rows per forward pass that the next Job of the recipe is made with."""
    job = current_training(seen)
    if job is None:
        return seen.adapter.spec.training.batch_size
    rows = micro_batch_of(seen, job)
    has_overflowed = job.state == "Failed" and job.outcome_reason == OUT_OF_MEMORY
    return (smaller_batch(rows) or rows) if has_overflowed else rows


def lowered_batch(seen: AdapterSnapshot) -> int | None:
    """Return :func:`next_micro_batch` where that is below the spec's ``training.batchSize``; None where it isn't."""
    rows = next_micro_batch(seen)
    return rows if rows < seen.adapter.spec.training.batch_size else None
