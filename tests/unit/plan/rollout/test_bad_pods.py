"""Pods that take nothing, or say too much: what follows must not be held up by them."""

from __future__ import annotations

import pytest
from tests.builders import NOW, base_model, on_pod, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.api.conditions import MESSAGE_LIMIT
from graft_operator.api.rollout import RolloutSpec
from graft_operator.plan.rollout.coverage import coverage_of
from graft_operator.plan.rollout.plan import RolloutState, plan_rollout
from graft_operator.plan.snapshot import PodObserved

V1, V2 = served_version(1), served_version(2)
TWO = base_model(replicas=2)
EVERYWHERE = tuple(pod(name, on_pod(V1), active=(1,)) for name in ("pod-1", "pod-2"))

FIRST: dict[str, tuple[RolloutProgress | None, tuple[PodObserved, ...], int | None, int]] = {
    "no pod takes it: it is nothing to go back to, or to be compared with": (
        RolloutProgress(start_time=NOW),
        (pod("pod-1", on_pod(V1, "Refused")), pod("pod-2", on_pod(V1, "Refused"))),
        None,
        100,
    ),
    "one pod answers with it: it goes on there, and is compared with on none": (
        RolloutProgress(start_time=NOW),
        (pod("pod-1", on_pod(V1), active=(1,)), pod("pod-2", on_pod(V1, "Refused"))),
        1,
        100,
    ),
    "it has just come to answer everywhere": (RolloutProgress(start_time=NOW), EVERYWHERE, 1, 10),
    "it answered everywhere once, and its pods are being replaced": (None, (), 1, 10),
}


@pytest.mark.parametrize(("progress", "pods", "previous", "weight"), FIRST.values(), ids=FIRST)
def test_a_canary_after_a_first_version(
    progress: RolloutProgress | None, pods: tuple[PodObserved, ...], previous: int | None, weight: int
) -> None:
    spec = RolloutSpec(strategy="Canary")
    at = RolloutState(wanted=V2, target=V1, progress=progress, pods=pods, spec=spec, base=TWO, now=NOW)
    rollout = plan_rollout(at)
    assert rollout.target == V2
    assert (rollout.previous.number if rollout.previous else None, rollout.weight) == (previous, weight)


def test_a_pod_may_say_anything_at_any_length() -> None:
    failing = pod("pod-1", on_pod(V1, "Failing", reason="EngineBroken", message="x" * 40_000))
    assert len(coverage_of(V1, TWO, (failing,)).message) == MESSAGE_LIMIT
    assert len(coverage_of(V1, TWO, (pod("pod-1", problem="x" * 40_000),)).message) == MESSAGE_LIMIT
