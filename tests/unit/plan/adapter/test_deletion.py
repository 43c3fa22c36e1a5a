"""What holds a deletion back, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, PLATFORM, adapter, answering_pod, job, pod, recipe_of, seen, version

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.conditions import find
from graft_operator.plan.actions import DeleteObject, DeleteVersions, EmitEvent, Plan, RemoveFinalizer
from graft_operator.plan.adapter.deletion import (
    CLEANUP_FINALIZER,
    CLEANUP_LIMIT,
    RETRY_SECONDS,
    SKIP_CLEANUP,
    UNLOAD_LIMIT,
)
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.snapshot import AdapterSnapshot

RELEASE = RemoveFinalizer(CLEANUP_FINALIZER)
JOB = job(recipe_of(adapter()))
SECOND = timedelta(seconds=1)


def deleted(
    ago: timedelta = SECOND, *, policy: str = "Delete", finalizer: bool = True, **fields: Any
) -> AdapterSnapshot:
    meta = {
        "deletionTimestamp": (NOW - ago).isoformat(),
        "finalizers": (CLEANUP_FINALIZER,) if finalizer else (),
        "annotations": fields.pop("annotations", {}),
    }
    return seen(adapter(meta=meta, deletionPolicy=policy), **fields)


CASES: dict[str, tuple[AdapterSnapshot, tuple[Any, ...]]] = {
    "without our finalizer there is nothing to do": (deleted(finalizer=False), ()),
    "Retain lets go at once": (deleted(policy="Retain", jobs=(JOB,), pods=(answering_pod(version()),)), (RELEASE,)),
    "the annotation lets go at once": (deleted(annotations={SKIP_CLEANUP: "true"}, jobs=(JOB,)), (RELEASE,)),
    "another value of the annotation doesn't": (
        deleted(annotations={SKIP_CLEANUP: "yes"}),
        (DeleteVersions(), RELEASE),
    ),
    "training ends first": (
        deleted(jobs=(JOB,), pods=(answering_pod(version()),)),
        (DeleteObject("Job", JOB.name, JOB.uid),),
    ),
    "loaded versions are waited for": (deleted(pods=(answering_pod(version()),)), ()),
    "a pod that can't be reached is not waited for": (
        deleted(pods=(pod("pod-1", reachable=False),)),
        (DeleteVersions(), RELEASE),
    ),
    "unloading is waited for only so long": (
        deleted(UNLOAD_LIMIT + SECOND, pods=(answering_pod(version()),)),
        (DeleteVersions(), RELEASE),
    ),
    "when all is quiet the versions go, and then the object": (deleted(), (DeleteVersions(), RELEASE)),
}


def plan_of(given: AdapterSnapshot) -> Plan:
    return plan_adapter(given, NOW, PLATFORM)


@pytest.mark.parametrize(("given", "actions"), CASES.values(), ids=CASES)
def test_deletion(given: AdapterSnapshot, actions: tuple[Any, ...]) -> None:
    plan = plan_of(given)
    assert plan.actions == actions
    assert plan.status is None
    assert (plan.requeue_after is not None) == (bool(given.adapter.metadata.finalizers) and RELEASE not in actions)


def test_versions_are_deleted_though_the_deletion_began_long_before_it_was_seen() -> None:
    found = plan_of(deleted(timedelta(hours=1)))
    assert found.actions == (DeleteVersions(), RELEASE)


def test_a_failed_attempt_is_made_again_and_says_what_is_in_the_way_until_when_and_how_out() -> None:
    found = plan_of(deleted(timedelta(minutes=1), cleanup_problem="bucket graft: 403"))
    assert found.actions == (DeleteVersions(), RELEASE)
    assert found.requeue_after == RETRY_SECONDS
    assert isinstance(found.status, LoraAdapterStatus)
    said = find(found.status.conditions, "Reconciling")
    assert said is not None
    assert said.reason == "RegistryNotCleaned"
    for part in ("bucket graft: 403", "12:09:00 UTC", SKIP_CLEANUP):
        assert part in said.message


def test_a_registry_that_is_gone_does_not_hold_a_namespace_for_ever() -> None:
    given = deleted(CLEANUP_LIMIT + SECOND, jobs=(JOB,), cleanup_problem="bucket graft: 404")
    event, release = plan_of(given).actions
    assert isinstance(event, EmitEvent)
    assert event.reason == "RegistryNotCleaned"
    assert "bucket graft: 404" in event.message
    assert release == RELEASE
