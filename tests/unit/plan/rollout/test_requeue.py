"""How often an adapter is looked at while its version is on its way, or waits for what may never come."""

from __future__ import annotations

from dataclasses import replace
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
    seen,
    serving_revision,
    version,
)

from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus, RolloutProgress
from graft_operator.api.base_model import AdapterCounts
from graft_operator.api.conditions import find
from graft_operator.plan.actions import Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.rollout.coverage import as_reached
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.rollout.requeue import MOVING_SECONDS, WATCHING_SECONDS
from graft_operator.plan.snapshot import PodObserved

RECIPE = seen(adapter()).recipe
V1, V2 = version(1), version(2, recipe=RECIPE)
BEGUN = RolloutProgress(start_time=NOW)


def plan(*pods: PodObserved, progress: RolloutProgress | None = BEGUN, previous: Any = None, **base: Any) -> Plan:
    serving = AdapterServingStatus(
        mode="MultiAdapter",
        target=served(V2),
        previous=served(previous) if previous else None,
        rollout=progress,
    )
    subject = adapter(status={"serving": serving})
    given = seen(subject, base=base_model(**base), published=V2, live=V2, pods=pods)
    return plan_adapter(given, NOW, PLATFORM)


def with_revision(**fields: Any) -> dict[str, Any]:
    return {"status": {"serving": (serving_revision(**fields),)}}


LOADING = pod("pod-1", on_pod(V2, "Loading"))
EMPTY = pod("pod-1")
BOTH = pod("pod-1", on_pod(V1), on_pod(V2), active=(2,))

CASES: dict[str, tuple[Plan, float | None]] = {
    "it answers everywhere and nothing is awaited": (plan(answering_pod(V2), progress=None), None),
    "a pod loads it": (plan(LOADING), MOVING_SECONDS),
    "a pod has only just become ready": (
        plan(*as_reached([replace(answering_pod(V2), ready_time=NOW)], NOW), progress=None),
        MOVING_SECONDS,
    ),
    "a pod becomes ready while the version before stays loaded for a way back": (
        plan(
            *as_reached([BOTH, replace(BOTH, name="pod-2", ready_time=NOW)], NOW),
            progress=BEGUN.model_copy(update={"step_time": NOW}),
            previous=V1,
            replicas=2,
        ),
        MOVING_SECONDS,
    ),
    "a pod answers, and has not taken up the present decision yet": (plan(BOTH, previous=V1), MOVING_SECONDS),
    "there is no place for it": (plan(EMPTY, **with_revision(waiting=("support",))), WATCHING_SECONDS),
    "it does not fit into what the pods are told": (
        plan(EMPTY, **with_revision(left_out=("support",))),
        WATCHING_SECONDS,
    ),
    "no pod can be scheduled": (plan(), WATCHING_SECONDS),
    "no pod can be asked": (plan(replace(LOADING, reachable=False)), WATCHING_SECONDS),
    "a pod refuses what it is told": (plan(replace(LOADING, problem="base.digest: another")), WATCHING_SECONDS),
    "a pod of a settled adapter restarts": (
        plan(answering_pod(V2), pod("pod-2", ready=False, reachable=False), progress=None, replicas=2),
        WATCHING_SECONDS,
    ),
    "a pod fails to load it": (plan(pod("pod-1", on_pod(V2, "Failing"))), WATCHING_SECONDS),
    "only pods of another base load it": (plan(replace(LOADING, base_digest="another")), WATCHING_SECONDS),
}


@pytest.mark.parametrize(("found", "seconds"), CASES.values(), ids=CASES)
def test_how_often_is_looked(found: Plan, seconds: float | None) -> None:
    assert found.requeue_after == seconds


def test_what_does_not_fit_into_the_wanted_set_is_told_with_what_helps() -> None:
    base = with_revision(left_out=("support",))
    base["status"]["adapters"] = AdapterCounts(total=4001)
    status = plan(EMPTY, **base).status
    assert isinstance(status, LoraAdapterStatus)
    told = find(status.conditions, "Reconciling")
    assert told is not None
    assert told.reason == "WantedSetFull"
    assert "full with 4000" in told.message
