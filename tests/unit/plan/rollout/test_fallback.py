"""A version that pods refuse and that had nothing to take over from, for it came while its adapter was not loaded."""

from __future__ import annotations

import pytest
from tests.builders import NOW, adapter, answering_pod, base_model, on_pod, pod, seen, served_version, version

from graft_operator.api.adapter_status import ServedVersion, Version
from graft_operator.plan.rollout.modes import decide_serving
from graft_operator.plan.rollout.plan import Rollout
from graft_operator.plan.snapshot import PodObserved
from graft_operator.plan.training.versions import summary

V1, V2 = served_version(1), served_version(2)
REFUSES, FAILS = pod("pod-1", on_pod(V2, "Refused")), pod("pod-1", on_pod(V2, "Failing"))
ANSWERS = answering_pod(V2, "pod-2")


def decided(pods: tuple[PodObserved, ...], *, residency: str = "OnDemand", served: bool = True) -> Rollout:
    """Decide on version 2, which is the target, of an adapter that has had a version 1."""
    entry: Version = summary(version(1)).model_copy(update={"served": served})
    status = {"versions": [entry.to_wire()], "serving": {"mode": "MultiAdapter", "target": V2.to_wire()}}
    subject = adapter(serving={"residency": residency}, status=status)
    return decide_serving(seen(subject, base=base_model(replicas=2), pods=pods), V2, NOW)


CASES: dict[str, tuple[Rollout, ServedVersion, bool]] = {
    "refused and answered by none: the one before is served": (decided((REFUSES,)), V1, True),
    "another pod answers with it": (decided((REFUSES, ANSWERS)), V2, False),
    "what fails may yet be loaded": (decided((FAILS,)), V2, False),
    "no pod has said anything yet": (decided(()), V2, False),
    "the one before was never served": (decided((REFUSES,), served=False), V2, False),
    "one that is loaded for good is not moved by a pod that can't load it again": (
        decided((REFUSES,), residency="Always"),
        V2,
        False,
    ),
}


@pytest.mark.parametrize(("rollout", "target", "is_given_up"), CASES.values(), ids=CASES)
def test_fallback(rollout: Rollout, target: ServedVersion, is_given_up: bool) -> None:
    assert (rollout.target, rollout.previous) == (target, None)
    assert (rollout.rollback is not None) == is_given_up
    if rollout.rollback is not None:
        assert (rollout.rollback.version, rollout.rollback.state) == (V2, "Refused")
