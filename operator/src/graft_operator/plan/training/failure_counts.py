"""How often a training has failed alike: how long it rests before it is tried again, and when it is given up.

Whether a failure is of a kind that may be tried again at all is decided by ``retry_policy``. Jobs that fail alike
rest ever longer, and after three of them nobody is helped by a fourth: a person has to look.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import FailedTrainings
from graft_operator.manifests.jobs.exit_codes import SOURCE_UNAVAILABLE
from graft_operator.plan.jobs import JobObserved

CRASH_LOOP: Final = "CrashLoop"

MOST_ALIKE: Final = 3
"""Jobs that may fail alike, one after the other. Each has tried several pods by then."""

RETRY_SECONDS: Final = 300.0
"""How long the first Job that has used up its own retries rests before it is created anew."""

LONGEST_REST: Final = 3600.0

PASSING: Final = frozenset({"RegistryUnavailable", SOURCE_UNAVAILABLE, "Preempted", "WorkerLost"})
"""What lies outside the Job and comes right some time, so that it is never given up for it."""

CHANGING: Final = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|[0-9]+")
"""Parts of a message that differ from one try to the next: counters, times, addresses, digests."""


def counted(known: FailedTrainings | None, own: FailedTrainings) -> FailedTrainings:
    """Return what is remembered once the failure of one more Job is counted; each Job counts once.

    ``known`` is what is remembered of the same recipe, with nothing changed since.
    """
    if known is None or known.recipe != own.recipe:
        return own
    if known.job == own.job:
        return own.model_copy(update={"count": known.count})
    return own.model_copy(update={"count": known.count + 1}) if are_alike(known, own) else own


def are_alike(one: FailedTrainings, other: FailedTrainings) -> bool:
    """Whether two Jobs have failed for the same reason with the same words, whatever their numbers."""
    return one.reason == other.reason and CHANGING.sub("#", one.message) == CHANGING.sub("#", other.message)


def is_crash_loop(failures: FailedTrainings) -> bool:
    """Whether another try would only end like those before."""
    return failures.reason not in PASSING and failures.count >= MOST_ALIKE


def rest_of(job: JobObserved, failures: FailedTrainings, now: datetime) -> float:
    """Return the seconds that an ended Job has yet to rest."""
    return rest_seconds(failures) - (now - job.ended_time).total_seconds() if job.ended_time else 0.0


def after_rest(job: JobObserved, failures: FailedTrainings) -> str:
    """Return when a Job has rested. A point in time: "in 4 minutes" would be a new status with every look."""
    if job.ended_time is None:
        return "now"
    return f"after {job.ended_time + timedelta(seconds=rest_seconds(failures)):%H:%M:%S} UTC"


def rest_seconds(failures: FailedTrainings) -> float:
    """Return how long the last of the Jobs that failed alike rests: twice as long as the one before, up to an hour."""
    return min(LONGEST_REST, RETRY_SECONDS * 2.0 ** min(failures.count - 1, 16))
