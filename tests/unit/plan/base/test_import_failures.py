"""Imports that wait or crash: told in the platform's words, and not tried again for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    base_id,
    base_manifest,
    base_seen,
    job,
    resolved_base,
)
from tests.unit.plan.base.base_plan import bumped_to, condition, deleted, status_of

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.manifests.jobs.import_job import import_settings_digest
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


MINE = import_settings_digest(bumped_to("B"), PLATFORM)
OTHERS = "sha256:" + "0" * 64

CHANGED: dict[str, tuple[dict[str, Any], bool]] = {
    "it waits for a pull secret": ({"waiting": "ImagePullBackOff: x", "pod_settings": OTHERS}, True),
    "its pods are refused": ({"no_pods": True, "pod_settings": OTHERS}, True),
    "it was forbidden to read its source": (
        {"state": "Failed", "outcome_reason": "Forbidden", "pod_settings": OTHERS},
        True,
    ),
    "it waits with the settings of now": ({"waiting": "ImagePullBackOff: x", "pod_settings": MINE}, False),
    "it runs": ({"pods_running": True, "pod_settings": OTHERS}, False),
    "it was made by a release that told no settings": ({"waiting": "ImagePullBackOff: x"}, False),
}


@pytest.mark.parametrize(("fields", "deletes"), CHANGED.values(), ids=CHANGED)
def test_an_import_that_is_stuck_is_made_anew_with_other_settings(fields: dict[str, Any], deletes: bool) -> None:
    source = base_manifest("B").source.digest()
    given = base_seen(bumped_to("B"), import_job=job(source, **fields))
    assert (deleted(given) != []) is deletes


WAITING = {
    "pods that a quota refuses": ("FailedCreate: exceeded quota: gpus", "PodsRefused", "exceeded quota: gpus"),
    "a pod without a node": ("Unschedulable: 0/3 nodes are available", "Unschedulable", "0/3 nodes"),
    "an image that can't be pulled": ("ImagePullBackOff: container import: x", "ImagePullFailed", "ImagePullBackOff"),
    "an image that can't be pulled, at another moment": ("ErrImagePull: container import: x", "ImagePullFailed", "x"),
    "a taint, with the field of the import's own pod": (
        "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.",
        "Unschedulable",
        "spec.importPod.tolerations",
    ),
    "certificates that are not there": (
        'FailedMount: MountVolume.SetUp failed for volume "ca-bundle" : configmap "certificates" not found',
        "MountFailed",
        "caBundle",
    ),
    "words that are no reason": ("no pod yet", "Importing", "no pod yet"),
}


@pytest.mark.parametrize(("waiting", "reason", "part"), WAITING.values(), ids=WAITING)
def test_an_import_that_waits_says_for_what(waiting: str, reason: str, part: str) -> None:
    source = base_manifest("B").source.digest()
    given = base_seen(bumped_to("B"), import_job=job(source, "Active", waiting=waiting))
    told = condition(status_of(given), "Resolved")
    assert told.reason == reason
    assert part in told.message
