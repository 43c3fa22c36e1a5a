"""Imports that wait or crash: told in the platform's words, and not tried again for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    base_id,
    base_manifest,
    base_seen,
    job,
    resolved_base,
)
from tests.unit.plan.base_plan import bumped_to, condition, deleted, status_of

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.plan.snapshot import BaseSnapshot


def importing(uid: str, known: Any = None, **fields: Any) -> BaseSnapshot:
    subject = bumped_to("B", status={"failed_imports": known, "resolved": resolved_base("A")})
    source = base_manifest("B").source.digest()
    ended = job(source, "Failed", uid=uid, ended_time=NOW - timedelta(seconds=1), **fields)
    return base_seen(subject, import_job=ended)


CRASH: dict[str, Any] = {"failure_reason": "BackoffLimitExceeded", "outcome_message": "KeyError: 'lm_head'"}


def after_crashes(count: int, **fields: Any) -> BaseModelStatus:
    known: Any = None
    for number in range(count):
        status = status_of(importing(f"uid-{number}", known, **CRASH | fields))
        again = status_of(importing(f"uid-{number}", status.failed_imports, **CRASH | fields))
        assert again.failed_imports == status.failed_imports, "a Job that is looked at twice counts once"
        known = status.failed_imports
    return status


def test_an_import_that_crashes_in_one_way_three_times_is_given_back_to_a_person() -> None:
    assert condition(after_crashes(2), "Stalled").status == "False"
    status = after_crashes(3)
    stalled = condition(status, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "CrashLoop")
    assert "KeyError: 'lm_head'" in stalled.message
    assert status.resolved == resolved_base("A")


def test_a_registry_that_is_away_is_waited_for_however_long() -> None:
    status = after_crashes(5, outcome_reason="RegistryUnavailable")
    assert condition(status, "Stalled").status == "False"


def test_another_image_or_other_credentials_try_again() -> None:
    known = after_crashes(3).failed_imports
    assert known is not None
    for inputs, deletes in ((known.inputs_digest, False), (base_id("Z"), True)):
        given = importing("uid-2", known.model_copy(update={"inputs_digest": inputs}), **CRASH)
        assert (deleted(given) != []) is deletes
    another = status_of(importing("uid-3", known.model_copy(update={"inputs_digest": base_id("Z")}), **CRASH))
    assert another.failed_imports is not None
    assert another.failed_imports.count == 1


def test_the_count_ends_with_the_source_resolved() -> None:
    known = after_crashes(2).failed_imports
    given = base_seen(bumped_to("B", status={"failed_imports": known, "resolved": resolved_base("A")}), bases="AB")
    assert status_of(given).failed_imports is None


WAITING = {
    "pods that a quota refuses": ("FailedCreate: exceeded quota: gpus", "PodsRefused", "exceeded quota: gpus"),
    "a pod without a node": ("Unschedulable: 0/3 nodes are available", "Unschedulable", "0/3 nodes"),
    "an image that can't be pulled": ("ImagePullBackOff: container import: x", "ImagePullFailed", "ImagePullBackOff"),
    "an image that can't be pulled, at another moment": ("ErrImagePull: container import: x", "ImagePullFailed", "x"),
    "words that are no reason": ("no pod yet", "Importing", "no pod yet"),
}


@pytest.mark.parametrize(("waiting", "reason", "part"), WAITING.values(), ids=WAITING)
def test_an_import_that_waits_says_for_what(waiting: str, reason: str, part: str) -> None:
    source = base_manifest("B").source.digest()
    given = base_seen(bumped_to("B"), import_job=job(source, "Active", waiting=waiting))
    told = condition(status_of(given), "Resolved")
    assert told.reason == reason
    assert part in told.message
