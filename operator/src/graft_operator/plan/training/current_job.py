"""The Job that is at work for the recipe that the spec asks for."""

from __future__ import annotations

from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.preparation.wanted import preparation_under_way
from graft_operator.plan.snapshot import AdapterSnapshot


def current_job(seen: AdapterSnapshot) -> JobObserved | None:
    """Return the Job of the current recipe: the one that trains or imports, or else the one that prepares rows."""
    return current_training(seen) or preparation_under_way(seen)


def current_training(seen: AdapterSnapshot) -> JobObserved | None:
    """Return the Job that trains the current recipe: of several, the one with the smallest micro-batch.

    The others ran out of memory. They are kept as long as the recipe is asked for: from them an operator that was
    restarted knows how small the micro-batch has to be.
    """
    own = [job for job in seen.jobs if job.recipe == seen.recipe and not job.prepares]
    return min(own, key=lambda job: micro_batch_of(seen, job), default=None)


def micro_batch_of(seen: AdapterSnapshot, job: JobObserved) -> int:
    """Return the rows per forward pass that a Job was made with."""
    return job.micro_batch or seen.adapter.spec.training.batch_size
