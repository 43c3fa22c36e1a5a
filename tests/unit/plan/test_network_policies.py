"""NetworkPolicies come and go with what they guard, where the platform team wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NOW, PARITY, PLATFORM, adapter, base_seen, recipe_of, seen, version

from graft_operator.manifests.platform import NetworkAccess, Platform
from graft_operator.plan.actions import ApplyObject, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.base.plan import plan_base
from graft_operator.plan.rollout.plan import served

GUARDED = replace(PLATFORM, network_access=NetworkAccess(operator_namespace="graft-system"))
MERGED: dict[str, Any] = {"serving": {"mode": "Merged"}}
V1 = version(1, recipe=recipe_of(adapter(**MERGED)), merge=PARITY)


def touched(found: Plan) -> list[tuple[str, str]]:
    """Return what becomes of NetworkPolicies: their names, applied or deleted."""
    applied = [
        ("apply", action.manifest["metadata"]["name"])
        for action in found.actions
        if isinstance(action, ApplyObject) and action.manifest["kind"] == "NetworkPolicy"
    ]
    deleted = [
        ("delete", action.name)
        for action in found.actions
        if isinstance(action, DeleteObject) and action.kind == "NetworkPolicy"
    ]
    return applied + deleted


def plan_merged(platform: Platform, mode: str) -> Plan:
    status = {"serving": {"mode": "Merged", "target": served(V1).to_wire()}}
    return plan_adapter(seen(adapter(status=status, serving={"mode": mode}), published=V1, live=V1), NOW, platform)


def test_a_base_that_is_served_has_one_before_its_pods() -> None:
    found = plan_base(base_seen(), NOW, GUARDED)
    kinds = [action.manifest["kind"] for action in found.actions if isinstance(action, ApplyObject)]
    assert touched(found) == [("apply", "graft-tiny")]
    assert kinds.index("NetworkPolicy") < kinds.index("Deployment")


def test_a_merged_model_has_one_of_its_own_that_ends_with_it() -> None:
    assert touched(plan_merged(GUARDED, "Merged")) == [("apply", "graft-support-merged")]
    assert touched(plan_merged(GUARDED, "None")) == [("delete", "graft-support-merged")]


@pytest.mark.parametrize("mode", ["Merged", "None"])
def test_none_is_touched_where_nobody_wants_any(mode: str) -> None:
    assert touched(plan_base(base_seen(), NOW, PLATFORM)) == []
    assert touched(plan_merged(PLATFORM, mode)) == []
