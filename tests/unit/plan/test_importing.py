"""What becomes of a source: imported once, tried again, or given back to a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, base_model, base_seen, digest, job, resolved_base, source_of

from graft_operator.plan.importing import RETRY_SECONDS, decide_import
from graft_operator.plan.observed import BaseObserved, JobObserved

BUMPED = base_model(source=source_of("B"))


def importing(state: str, ago: float = 1, **fields: Any) -> BaseObserved:
    source = base_seen(BUMPED).source_digest
    return base_seen(
        BUMPED, bases="A", import_job=job(source, state, ended_time=NOW - timedelta(seconds=ago), **fields)
    )


def stale() -> JobObserved:
    return job(digest("another source"))


IMPORTS: dict[str, tuple[BaseObserved, str, bool, bool, int]] = {
    "nothing yet: a Job is due": (base_seen(BUMPED, bases="A"), "Importing", True, False, 0),
    "the Job runs": (importing("Active"), "Importing", False, False, 0),
    "the source changed again: the Job gives way": (
        base_seen(BUMPED, bases="A", import_job=stale()),
        "Importing",
        True,
        False,
        1,
    ),
    "the registry knows it already": (base_seen(BUMPED, bases="AB"), "Resolved", False, False, 0),
    "the registry knows it and a Job of another source is left": (
        base_seen(BUMPED, bases="AB", import_job=stale()),
        "Resolved",
        False,
        False,
        1,
    ),
    "the source is not there": (importing("Failed", outcome_reason="SourceNotFound"), "SourceNotFound", False, True, 0),
    "the registry is away": (
        importing("Failed", outcome_reason="RegistryUnavailable"),
        "RegistryUnavailable",
        False,
        False,
        0,
    ),
    "it has rested": (
        importing("Failed", RETRY_SECONDS + 1, failure_reason="BackoffLimitExceeded"),
        "BackoffLimitExceeded",
        False,
        False,
        1,
    ),
    "a success that left nothing rests": (importing("Succeeded"), "BaseMissing", False, False, 0),
    "a success that left nothing is done again": (
        importing("Succeeded", RETRY_SECONDS + 1),
        "BaseMissing",
        False,
        False,
        1,
    ),
}


@pytest.mark.parametrize(("given", "reason", "due", "stalled", "deletes"), IMPORTS.values(), ids=IMPORTS)
def test_import(given: BaseObserved, reason: str, due: bool, stalled: bool, deletes: int) -> None:
    verdict = decide_import(given, NOW)
    assert (verdict.fact.reason, verdict.due, verdict.stalled) == (reason, due, stalled)
    assert len(verdict.actions) == deletes
    resolved = resolved_base("B" if reason == "Resolved" else "A")
    assert verdict.resolved is not None
    assert verdict.resolved.digest == resolved.digest


def test_a_rest_is_told_by_its_end_so_that_the_status_stays_the_same() -> None:
    given = importing("Failed", outcome_reason="RegistryUnavailable")
    assert decide_import(given, NOW).fact == decide_import(given, NOW + timedelta(seconds=5)).fact
