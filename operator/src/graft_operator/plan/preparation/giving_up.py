"""A preparation that nobody asked for by name, and that does not get anywhere: the training goes on without it.

Mode Auto comes with a release. A cluster on which the training runs may have no place for such a pod: a taint, a quota,
another kind of machine, a queue that holds whatever is in none. What is wrong with the rows themselves is kept, for the
training would find the same; and what passes by itself is waited for, since the training would wait for it, too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import SkippedPreparation
from graft_operator.api.conditions import no
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.pod_hints import PREPARATION
from graft_operator.plan.pod_problems import problem_of_job
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.current_job import current_job
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.failure_counts import PASSING
from graft_operator.plan.training.retry_policy import DEADLINE, deadline_message, failure_of, seconds_run

GIVEN_UP: Final = "PreparationGivenUp"

PATIENCE: Final = timedelta(minutes=10)
"""How long a Job may wait for a pod that runs, if nobody has promised it one."""

OF_THE_ROWS: Final = frozenset({"BadDataset", "InvalidConfig", "BaseMismatch"})
"""Failures that the training would have as well."""

PROMISED: Final = "WaitingForNode"
"""An autoscaler says that it brings a node."""


def preparation_is_given_up(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """Remember that the training prepares its rows itself. With that its Job is unwanted, and the training is due."""
    job = current_job(seen)
    if job is None or not job.prepares or seen.adapter.spec.preparation.mode != "Auto":
        return None
    if (why := why_given_up(seen, job, now)) is None:
        return None
    reason, message = why
    fact = no(
        GIVEN_UP,
        f"Job {job.name} is given up, and the training prepares its rows itself ({reason}: {message}); with"
        " spec.preparation.mode Always it is waited for, with Never none is made",
    )
    skipped = SkippedPreparation(recipe=job.recipe, reason=reason, message=message, job=job.uid)
    return TrainingDecision(trained=fact, waiting=fact, skipped=skipped, requeue_after=0)


def why_given_up(seen: AdapterSnapshot, job: JobObserved, now: datetime) -> tuple[str, str] | None:
    """Return (reason, message) of what keeps the Job from preparing the rows; None while it may yet."""
    if job.state == "Failed":
        reason, message = failure_of(job)
        return None if reason in OF_THE_ROWS | PASSING else (reason, message)
    if seconds_run(job, now) >= seen.adapter.spec.training.deadline_seconds:
        return DEADLINE, deadline_message(job)
    is_queued = job.suspended and seen.adapter.spec.preparation.queue_name is not None
    if not job.is_stuck or is_queued or job.idle_since is None or now - job.idle_since < PATIENCE:
        return None
    problem = problem_of_job(job, now, PREPARATION)
    return None if problem is None or problem[0] == PROMISED else problem
