"""What an adapter's status says of a canary."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter,
    answering_pod,
    base_model,
    on_pod,
    pod,
    recipe_of,
    seen,
    served_version,
    serving_revision,
    version,
)

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.rollout.measured import Measured
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import entry_of

RECIPE = recipe_of(adapter())
SECOND = version(2, recipe=RECIPE)
V2 = served_version(2, recipe=RECIPE)
V1 = served_version(1)


def status_of(given: AdapterSnapshot) -> LoraAdapterStatus:
    plan = plan_adapter(given, NOW, PLATFORM)
    assert isinstance(plan.status, LoraAdapterStatus)
    return plan.status


def in_canary(weight: int = 10, *, waiting: bool = False, **rollout: Any) -> AdapterSnapshot:
    """Version 2 has had its part of the requests for ten seconds; half of 40 of them have failed."""
    progress = {"weight": weight, "startTime": NOW, "stepTime": NOW - timedelta(seconds=10)}
    serving = {"target": V2.to_wire(), "previous": V1.to_wire(), "rollout": progress}
    spec = {"rollout": {"strategy": "Canary", "limits": {"maxErrorPercent": 60}} | rollout}
    subject = adapter(serving=spec, status={"served_version": 2 if weight == 100 else 1, "serving": serving})
    pods = replace(
        pod("pod-1", on_pod(V1), on_pod(V2, measured=Measured(40, 20))),
        active={1: 100 - weight, 2: weight} if weight < 100 else {2: 100},
        decision=(2, 1, weight),
    )
    revision = serving_revision(waiting=("support",) if waiting else ())
    base = base_model(status={"serving": (revision,)})
    return seen(subject, base=base, published=SECOND, live=SECOND, pods=(pods,))


def rolled_back() -> AdapterSnapshot:
    """A moment later: the status is written, and the pods have gone back."""
    before = in_canary(limits={})
    subject = before.adapter.model_copy(update={"status": status_of(before)})
    return replace(before, adapter=subject, live=version(1), pods=(answering_pod(V1),))


CANARIES: dict[str, tuple[AdapterSnapshot, str, str, int]] = {
    "in a step: the version before is what is served": (in_canary(), "Canary", "Progressing", 1),
    "beyond a limit: the pods are to go back": (in_canary(limits={}), "RollingOut", "RolledBack", 1),
    "aborted: so are they": (in_canary(abort=2), "RollingOut", "RolledBack", 1),
    "aborted in the rollback window: the new one answers still": (
        in_canary(100, abort=2),
        "RollingOut",
        "RolledBack",
        2,
    ),
    "rolled back": (rolled_back(), "RolledBack", "RolledBack", 1),
    "in the rollback window: done": (in_canary(100), "Served", "Progressing", 2),
    "no place for the new version": (in_canary(waiting=True), "NoFreeSlot", "Progressing", 1),
}


@pytest.mark.parametrize(("given", "served", "stalled", "answers"), CANARIES.values(), ids=CANARIES)
def test_a_canary_is_told_in_conditions(given: AdapterSnapshot, served: str, stalled: str, answers: int) -> None:
    status = status_of(given)
    reasons = {condition.type: condition.reason for condition in status.conditions}
    assert (reasons["Served"], reasons["Stalled"], reasons["Ready"]) == (served, stalled, "Serving")
    assert status.served_version == answers
    entry = entry_of(status.versions, 2)
    assert entry is not None
    assert entry.state == ("RolledBack" if stalled == "RolledBack" else "Published")
    assert (status.serving.target == V1) == (stalled == "RolledBack")


def test_an_abort_of_a_version_that_has_long_taken_over_changes_nothing() -> None:
    subject = adapter(serving={"rollout": {"abort": 2}}, status={"serving": {"target": V2.to_wire()}})
    status = status_of(seen(subject, published=SECOND, live=SECOND, pods=(answering_pod(V2),)))
    assert status.serving.target == V2
    assert [entry.state for entry in status.versions] == ["Published"]


def test_a_pin_that_cannot_be_carried_out_leaves_the_canary_where_it_is() -> None:
    given = in_canary()
    pinned = given.adapter.spec.model_copy(update={"version": 9})
    status = status_of(replace(given, adapter=given.adapter.model_copy(update={"spec": pinned}), pinned=None))
    assert status.serving.target == V2
    assert status.serving.rollout is not None
    assert status.serving.rollout.weight == 10
