"""A new version is held to its probe score on the serving engines, beside that of the version before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.builders import NOW, base_model, digest, on_pod, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.api.rollout import RolloutLimits, RolloutSpec
from graft_operator.plan.rollout.measured import Measured
from graft_operator.plan.rollout.plan import Rollout, RolloutState, plan_rollout
from graft_operator.plan.snapshot import PodObserved, ProbeScore

V1, V2 = served_version(1), served_version(2)
TOTAL = 20
CANARY = RolloutSpec(strategy="Canary", limits=RolloutLimits(max_probe_score_drop_percent=20, wait_seconds=600))
IMMEDIATE = RolloutSpec(limits=RolloutLimits())
ENOUGH = Measured(requests=100, latency={-16: 100})
Told = tuple[int, int] | None
"""Probes asked so far, and answered right."""


def asked(name: str, stable: Told, candidate: Told, *, weight: int = 10, of: str = V2.digest) -> PodObserved:
    """A pod that splits requests so, and tells how both versions have answered the candidate's probes."""
    scores = [None if told is None else ProbeScore(of, TOTAL, *told) for told in (stable, candidate)]
    versions = (on_pod(item, measured=ENOUGH, score=score) for item, score in zip((V1, V2), scores, strict=True))
    active = {1: 100 - weight, 2: weight} if weight < 100 else {2: 100}
    return replace(pod(name, *versions), active=active, decision=(2, 1, weight))


def plan(*pods: PodObserved, spec: RolloutSpec = CANARY, weight: int = 10, seconds: int = 5) -> Rollout:
    """Plan so many seconds after the beginning of the step."""
    begun = NOW - timedelta(seconds=seconds)
    return plan_rollout(
        RolloutState(
            wanted=V2,
            target=V2,
            previous=V1,
            progress=RolloutProgress(weight=weight, start_time=begun, step_time=begun),
            spec=spec,
            base=base_model(replicas=len(pods)),
            pods=pods,
            now=NOW,
        )
    )


ALL, WORST_ALLOWED, TOO_FEW = (TOTAL, 20), (TOTAL, 16), (TOTAL, 15)
ONE_POD: dict[str, tuple[PodObserved, str]] = {
    "as good as the version before": (asked("a", ALL, ALL), ""),
    "better": (asked("a", TOO_FEW, ALL), ""),
    "at the limit is within it": (asked("a", ALL, WORST_ALLOWED), ""),
    "beyond the limit": (
        asked("a", ALL, TOO_FEW),
        "version 2 answered 15 of 20 probes right on the serving engines, version 1 20: 25 % fewer,"
        " above limits.maxProbeScoreDropPercent 20",
    ),
    "bad, but no worse than the version before": (asked("a", (TOTAL, 2), (TOTAL, 1)), ""),
    "not through with the version before": (asked("a", (19, 19), (TOTAL, 0)), ""),
    "not through with the new version": (asked("a", ALL, (15, 0)), ""),
    "probes of another version": (asked("a", ALL, TOO_FEW, of=digest("version 3")), ""),
    "an agent that asks no probes": (asked("a", None, None), ""),
}


@pytest.mark.parametrize(("seen", "says"), ONE_POD.values(), ids=ONE_POD)
def test_limit(seen: PodObserved, says: str) -> None:
    rollout = plan(seen)
    assert (rollout.rollback.message if rollout.rollback else "") == says
    assert rollout.target == (V1 if says else V2)


def test_scores_of_all_replicas_are_added_up() -> None:
    assert plan(asked("a", ALL, TOO_FEW), asked("b", ALL, ALL)).rollback is None
    rollout = plan(asked("a", ALL, TOO_FEW), asked("b", ALL, (TOTAL, 12)))
    assert rollout.rollback is not None
    assert rollout.rollback.state == "RolledBack"
    assert "27 of 40 probes right on the serving engines, version 1 40: 32 % fewer" in rollout.rollback.message


def test_one_replica_that_is_through_is_enough_to_go_back() -> None:
    assert plan(asked("a", ALL, TOO_FEW), asked("b", ALL, (3, 3))).rollback is not None


def test_a_version_without_probes_is_not_judged_by_them() -> None:
    none = ProbeScore(V2.digest, 0, 0, 0)
    versions = (on_pod(V1, measured=ENOUGH, score=none), on_pod(V2, measured=ENOUGH, score=none))
    seen = replace(pod("a", *versions), active={1: 90, 2: 10}, decision=(2, 1, 10))
    assert plan(seen, seconds=60).weight == 50


STEPS: dict[str, tuple[Told, int, int]] = {
    "answered: the step lasts its time": (ALL, 60, 50),
    "not through yet: the step waits": ((4, 4), 60, 10),
    "not through for too long: the step is passed": ((4, 4), 660, 50),
    "an agent that asks no probes is not waited for": (None, 60, 50),
}


@pytest.mark.parametrize(("candidate", "seconds", "weight"), STEPS.values(), ids=STEPS)
def test_a_step_waits_for_the_answers(candidate: Told, seconds: int, weight: int) -> None:
    rollout = plan(asked("a", candidate and ALL, candidate), seconds=seconds)
    assert rollout.weight == weight


def test_an_immediate_rollout_with_limits_is_held_to_them_in_its_rollback_window() -> None:
    seen = asked("a", ALL, TOO_FEW, weight=100)
    assert plan(seen, spec=IMMEDIATE, weight=100).rollback is not None
    assert plan(seen, spec=RolloutSpec(), weight=100).rollback is None


def test_promote_overrules_the_score() -> None:
    promoted = CANARY.model_copy(update={"promote": 2})
    assert plan(asked("a", ALL, TOO_FEW), spec=promoted).rollback is None
