"""The InferencePool of a base: made, left alone, taken away; and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NOW, PLATFORM, adapter_of_base, base_model, base_seen, deployment, served_version
from tests.kstatus import kstatus

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.plan.actions import DeleteObject, Plan
from graft_operator.plan.base.gateway import RECHECK_SECONDS
from graft_operator.plan.base.plan import IN_USE_FINALIZER, plan_base
from graft_operator.plan.snapshot import BaseSnapshot, GatewayObserved, PoolObserved

POOL = "graft-tiny"
BEHIND_A_GATEWAY = {"replicas": 1, "gateway": {"endpointPickerRef": {"name": "picker"}}}


def seen(gateway: GatewayObserved, *, wanted: bool = True, **meta: Any) -> BaseSnapshot:
    serving = BEHIND_A_GATEWAY if wanted else {"replicas": 1}
    subject = base_model(serving=serving, meta={"finalizers": (IN_USE_FINALIZER,)} | meta)
    return base_seen(subject, deployments=(deployment(),), gateway=gateway)


def plan(given: BaseSnapshot) -> Plan:
    return plan_base(given, NOW, PLATFORM)


def status_of(given: BaseSnapshot) -> BaseModelStatus:
    status = plan(given).status
    assert isinstance(status, BaseModelStatus)
    return status


def told(given: BaseSnapshot) -> tuple[str, str, str] | None:
    condition = find(status_of(given).conditions, "GatewayReady")
    return None if condition is None else (condition.status, condition.reason, condition.message)


def done_to_pool(given: BaseSnapshot) -> list[str]:
    return [type(action).__name__ for action in plan(given).extras]


def says(kind: str, status: str, reason: str = "Said", message: str = "") -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}
    )


def pool(owner_uid: str = "uid-of-tiny", **parents: tuple[Condition, ...]) -> PoolObserved:
    return PoolObserved(uid="uid-of-pool", owner_uid=owner_uid, parents=parents)


def served(found: PoolObserved | None = None) -> GatewayObserved:
    return GatewayObserved(api="Served", pool=found)


ACCEPTED = says("Accepted", "True")
RESOLVED = says("ResolvedRefs", "True")

CASES: dict[str, tuple[BaseSnapshot, list[str], tuple[str, str, str] | None]] = {
    "no Gateway is asked for, and the kind is not there: nothing is done or said": (
        seen(GatewayObserved(), wanted=False),
        [],
        None,
    ),
    "no Gateway is asked for, and the kind is there: nothing is done or said": (seen(served(), wanted=False), [], None),
    "the field is removed: the pool goes": (seen(served(pool()), wanted=False), ["DeleteObject"], None),
    "a pool of that name is somebody else's, and none is asked for: it stays": (
        seen(served(pool(owner_uid="")), wanted=False),
        [],
        None,
    ),
    "the operator may not read pools, and none is asked for: nothing is said": (
        seen(GatewayObserved(api="Forbidden"), wanted=False),
        [],
        None,
    ),
    "the kind is not installed: that is said": (
        seen(GatewayObserved()),
        [],
        ("False", "GatewayApiMissing", "install the CustomResourceDefinitions"),
    ),
    "the chart gives no rights to pools: its value is named": (
        seen(GatewayObserved(api="Forbidden")),
        [],
        ("False", "GatewayApiForbidden", "rbac.inferencePools"),
    ),
    "a pool of that name is somebody else's: it is not taken over": (
        seen(served(pool(owner_uid="uid-of-another"))),
        [],
        ("False", "PoolNameTaken", "delete or rename it"),
    ),
    "the kind is being listed: nothing is said of it": (
        seen(GatewayObserved(api="Unknown")),
        [],
        ("Unknown", "NoGateway", ""),
    ),
    "there is no pool yet: it is made": (seen(served()), ["ApplyObject"], ("Unknown", "NoGateway", "is being made")),
    "no Gateway uses it: how to is said": (
        seen(served(pool())),
        ["ApplyObject"],
        ("Unknown", "NoGateway", "backendRefs"),
    ),
    "a Gateway has said nothing yet": (
        seen(served(pool(inference=()))),
        ["ApplyObject"],
        ("Unknown", "Pending", "Gateway inference has not said"),
    ),
    "a Gateway accepts it": (
        seen(served(pool(inference=(ACCEPTED, RESOLVED)))),
        ["ApplyObject"],
        ("True", "Accepted", "used by inference"),
    ),
    "a Gateway knows Accepted alone": (
        seen(served(pool(inference=(ACCEPTED,)))),
        ["ApplyObject"],
        ("True", "Accepted", "used by inference"),
    ),
    "one of two Gateways does not know the kind: its reason is passed on": (
        seen(served(pool(a=(ACCEPTED, RESOLVED), b=(says("Accepted", "False", "NotSupportedByParent"),)))),
        ["ApplyObject"],
        ("False", "NotSupportedByParent", "Gateway b: Accepted is False"),
    ),
    "the picker's Service is not there: the Gateway's words are passed on": (
        seen(
            served(pool(a=(ACCEPTED, says("ResolvedRefs", "False", "InvalidExtensionRef", "no Service picker")))),
        ),
        ["ApplyObject"],
        ("False", "InvalidExtensionRef", "Gateway a: no Service picker"),
    ),
}


@pytest.mark.parametrize(("given", "done", "said"), CASES.values(), ids=CASES)
def test_what_is_done_and_said(given: BaseSnapshot, done: list[str], said: tuple[str, str, str] | None) -> None:
    assert done_to_pool(given) == done
    condition = told(given)
    if said is None or condition is None:
        assert condition is said
        return
    assert condition[:2] == said[:2]
    assert said[2] in condition[2]


@pytest.mark.parametrize("given", [given for given, *_ in CASES.values()], ids=CASES)
def test_nothing_else_changes(given: BaseSnapshot) -> None:
    """A Gateway is one more way to the pods: what it says neither changes the other objects nor the health."""
    plain = plan(seen(GatewayObserved(), wanted=False))
    assert plan(given).actions == plain.actions
    status = status_of(given)
    assert status.endpoint == "http://graft-tiny.team-a.svc:8000"
    assert kstatus({"metadata": {"generation": 1}, "status": status.to_wire()}) == "Current"


@pytest.mark.parametrize(
    ("gateway", "again"),
    [
        (served(), RECHECK_SECONDS),
        (served(pool(a=(says("Accepted", "False"),))), RECHECK_SECONDS),
        (served(pool(a=(ACCEPTED,))), None),
        (GatewayObserved(), RECHECK_SECONDS),
        (GatewayObserved(api="Forbidden"), RECHECK_SECONDS),
    ],
    ids=["no Gateway yet", "refused", "accepted", "not installed", "no rights"],
)
def test_what_may_come_about_without_an_event_is_looked_at_again(gateway: GatewayObserved, again: float | None) -> None:
    assert plan(seen(gateway)).requeue_after == again


def test_the_right_pool_is_deleted() -> None:
    assert plan(seen(served(pool()), wanted=False)).extras == (DeleteObject("InferencePool", POOL, "uid-of-pool"),)


def test_a_base_that_is_deleted_keeps_its_pool_as_long_as_adapters_keep_it() -> None:
    unused = seen(served(pool()), deletionTimestamp=NOW.isoformat())
    assert done_to_pool(unused) == [], "the garbage collector takes it, together with all that the base owns"
    in_use = replace(unused, adapters=(adapter_of_base(target=served_version(1)),))
    assert done_to_pool(in_use) == ["ApplyObject"]
