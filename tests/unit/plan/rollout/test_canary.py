"""A canary goes by its steps, is held to its limits, and is rolled back by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, base_model, on_pod, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress, ServedVersion
from graft_operator.api.rollout import RolloutLimits, RolloutSpec
from graft_operator.plan.rollout.canary import breach, step_seconds_left
from graft_operator.plan.rollout.measured import Measured, added
from graft_operator.plan.rollout.plan import RolloutState, plan_rollout
from graft_operator.plan.snapshot import PodObserved

V1, V2, V3 = served_version(1), served_version(2), served_version(3)
TWO = base_model(replicas=2)
CANARY = RolloutSpec(
    strategy="Canary", limits=RolloutLimits(max_error_percent=5, max_latency_percent=150, min_requests=20)
)
"""10 % for a minute, 50 % for a minute."""
FAST, SLOW = -16, -8
"""Buckets that end at 0.27 s and at 0.55 s."""


def measured(requests: int = 0, errors: int = 0, bucket: int = FAST) -> Measured:
    return Measured(requests, errors, {bucket: requests - errors} if requests > errors else {})


GOOD = measured(100)
NOTHING = Measured()


def splitting(weight: int, candidate: Measured = NOTHING, stable: Measured = GOOD) -> tuple[PodObserved, ...]:
    """Two pods that carry out the decision to give version 2 this weight; each has measured half of it all."""
    active = {1: 100 - weight, 2: weight} if weight < 100 else {2: 100}
    parts = [halved(item) for item in (stable, candidate)]
    versions = tuple(on_pod(version, measured=part) for version, part in zip((V1, V2), parts, strict=True))
    one = replace(pod("pod-1", *versions), active=active, decision=(2, 1, weight))
    return (one, replace(one, name="pod-2"))


def halved(whole: Measured) -> Measured:
    return Measured(
        whole.requests // 2, whole.errors // 2, {bucket: count // 2 for bucket, count in whole.latency.items()}
    )


def at_step(weight: int, seconds: int | None = 0) -> RolloutProgress:
    """The step began so many seconds ago, or not yet."""
    begun = None if seconds is None else NOW - timedelta(seconds=seconds)
    return RolloutProgress(weight=weight, start_time=NOW - timedelta(hours=1), step_time=begun)


SERVED_BY_V1 = tuple(pod(name, on_pod(V1), active=(1,)) for name in ("pod-1", "pod-2"))


@dataclass(frozen=True, kw_only=True)
class Case:
    wanted: ServedVersion | None = V2
    target: ServedVersion = V2
    previous: ServedVersion | None = V1
    spec: RolloutSpec = CANARY
    pinned: bool = False
    progress: RolloutProgress | None = None
    pods: tuple[PodObserved, ...] = ()
    expect: tuple[int, int | None, int]
    """Numbers of target and previous version, and the target's weight."""
    begun: bool = False
    """Whether the step has begun by now."""
    says: str = ""
    """Part of why the version is rolled back."""


BAD_ERRORS = measured(40, errors=8)
CASES = {
    "a new version begins with the first step's weight": Case(
        target=V1, previous=None, pods=SERVED_BY_V1, expect=(2, 1, 10)
    ),
    "a first version takes all requests at once": Case(wanted=V1, target=V1, previous=None, expect=(1, None, 100)),
    "a version on another base takes over at once": Case(
        wanted=served_version(2, "B"), target=V1, previous=None, pods=SERVED_BY_V1, expect=(2, 1, 100)
    ),
    "a way back to an older version is taken at once": Case(
        wanted=V1, target=V2, previous=None, pods=splitting(100), expect=(1, 2, 100)
    ),
    "a pinned version takes over at once": Case(
        target=V1, previous=None, pinned=True, pods=SERVED_BY_V1, expect=(2, 1, 100)
    ),
    "a promoted version takes over at once": Case(
        target=V1,
        previous=None,
        spec=CANARY.model_copy(update={"promote": 2}),
        pods=SERVED_BY_V1,
        expect=(2, 1, 100),
    ),
    "the step begins when every replica splits requests so": Case(
        progress=at_step(10, None), pods=splitting(10), expect=(2, 1, 10), begun=True
    ),
    "it does not begin while one replica doesn't": Case(
        progress=at_step(10, None), pods=(splitting(10)[0], SERVED_BY_V1[1]), expect=(2, 1, 10)
    ),
    "it does not begin by another decision's split": Case(
        progress=at_step(50, None),
        pods=tuple(replace(one, decision=(2, 1, 10)) for one in splitting(10)),
        expect=(2, 1, 50),
    ),
    "the step lasts its time": Case(progress=at_step(10, 59), pods=splitting(10, GOOD), expect=(2, 1, 10), begun=True),
    "then the next one begins": Case(progress=at_step(10, 60), pods=splitting(10, GOOD), expect=(2, 1, 50)),
    "after the last one the version answers all": Case(
        progress=at_step(50, 60), pods=splitting(50, GOOD), expect=(2, 1, 100)
    ),
    "too few requests: the step waits": Case(
        progress=at_step(10, 600), pods=splitting(10, measured(18)), expect=(2, 1, 10), begun=True
    ),
    "too few requests for too long: the step is passed": Case(
        progress=at_step(10, 660), pods=splitting(10, measured(18)), expect=(2, 1, 50)
    ),
    "a step that the spec no longer has is over": Case(
        progress=at_step(25, 1), pods=splitting(25, GOOD), expect=(2, 1, 50)
    ),
    "a strategy changed to Immediate ends the canary": Case(
        spec=RolloutSpec(), progress=at_step(10, 1), pods=splitting(10, GOOD), expect=(2, 1, 100)
    ),
    "promote ends the canary": Case(
        spec=CANARY.model_copy(update={"promote": 2}),
        progress=at_step(10, 1),
        pods=splitting(10, GOOD),
        expect=(2, 1, 100),
    ),
    "promote overrules the limits": Case(
        spec=CANARY.model_copy(update={"promote": 2}),
        progress=at_step(10, 1),
        pods=splitting(10, BAD_ERRORS),
        expect=(2, 1, 100),
    ),
    "promote of another version changes nothing": Case(
        spec=CANARY.model_copy(update={"promote": 1}),
        progress=at_step(10, 1),
        pods=splitting(10, GOOD),
        expect=(2, 1, 10),
        begun=True,
    ),
    "a pin in the middle of the canary ends it": Case(
        pinned=True, progress=at_step(10, 1), pods=splitting(10, BAD_ERRORS), expect=(2, 1, 100)
    ),
    "a pin of the version before goes straight back": Case(
        wanted=V1, pinned=True, progress=at_step(10, 1), pods=splitting(10, GOOD), expect=(1, None, 100)
    ),
    "abort goes straight back": Case(
        wanted=None,
        spec=CANARY.model_copy(update={"abort": 2}),
        progress=at_step(10, 1),
        pods=splitting(10, GOOD),
        expect=(1, None, 100),
        says="abort names it",
    ),
    "a third version in the middle is compared with the first": Case(
        wanted=V3, progress=at_step(10, 1), pods=splitting(10, GOOD), expect=(3, 1, 10)
    ),
    "errors beyond the limit: rolled back at once": Case(
        progress=at_step(10, 5),
        pods=splitting(10, BAD_ERRORS),
        expect=(1, None, 100),
        says="8 of 40 requests to version 2 failed, 0 % of those to version 1: above limits.maxErrorPercent 5",
    ),
    "errors of both versions are not the new one's": Case(
        progress=at_step(10, 5),
        pods=splitting(10, BAD_ERRORS, measured(400, errors=80)),
        expect=(2, 1, 10),
        begun=True,
    ),
    "slower beyond the limit: rolled back": Case(
        progress=at_step(10, 5),
        pods=splitting(10, measured(40, bucket=SLOW)),
        expect=(1, None, 100),
        says="200 %, above limits.maxLatencyPercent 150",
    ),
    "what one of several replicas measures before all split is enough to go back": Case(
        progress=at_step(10, None),
        pods=(splitting(10, measured(80, errors=40))[0], SERVED_BY_V1[1]),
        expect=(1, None, 100),
        says="20 of 40",
    ),
    "what was measured under another split does not count": Case(
        progress=at_step(50, None),
        pods=tuple(replace(one, decision=(2, 1, 10)) for one in splitting(10, BAD_ERRORS)),
        expect=(2, 1, 50),
    ),
    "limits are watched in the rollback window": Case(
        progress=at_step(100, 200), pods=splitting(100, BAD_ERRORS), expect=(1, None, 100), says="8 of 40"
    ),
    "so they are after an immediate rollout that sets limits": Case(
        spec=RolloutSpec(limits=RolloutLimits()),
        progress=at_step(100, 200),
        pods=splitting(100, BAD_ERRORS),
        expect=(1, None, 100),
        says="8 of 40",
    ),
    "without limits an immediate rollout is not watched": Case(
        spec=RolloutSpec(),
        progress=at_step(100, 200),
        pods=splitting(100, BAD_ERRORS),
        expect=(2, 1, 100),
        begun=True,
    ),
    "a way back that somebody chose is not watched": Case(
        wanted=V1,
        target=V1,
        previous=V2,
        progress=at_step(100, 200),
        pods=tuple(
            replace(one, active={1: 100}, decision=(1, 2, 100)) for one in splitting(100, GOOD, measured(40, errors=8))
        ),
        expect=(1, 2, 100),
        begun=True,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canary(case: Case) -> None:
    rollout = plan_rollout(
        RolloutState(
            wanted=case.wanted,
            target=case.target,
            previous=case.previous,
            progress=case.progress,
            spec=case.spec,
            pinned=case.pinned,
            base=TWO,
            pods=case.pods,
            now=NOW,
        )
    )
    assert rollout.target is not None
    previous = rollout.previous.number if rollout.previous else None
    assert (rollout.target.number, previous, rollout.weight) == case.expect
    assert bool(rollout.progress and rollout.progress.step_time) == case.begun
    assert bool(rollout.rollback) == bool(case.says)
    if rollout.rollback is not None:
        assert rollout.rollback.state == "RolledBack"
        assert case.says in rollout.rollback.message


LIMITS = RolloutLimits(max_error_percent=5, max_latency_percent=150, min_requests=20)
BREACHES: dict[str, tuple[Measured, Measured, bool]] = {
    "nothing was asked yet": (Measured(), Measured(), False),
    "at the limit is within it": (measured(100, errors=5), GOOD, False),
    "above it is not": (measured(100, errors=6), GOOD, True),
    "one error of few requests may be chance": (measured(1, errors=1), GOOD, False),
    "two of few can't come below 5 % of 20 any more": (measured(2, errors=2), GOOD, True),
    "a few slow answers may be chance": (measured(19, bucket=SLOW), GOOD, False),
    "nothing to compare with": (measured(20, bucket=SLOW), measured(19), False),
    "twice as slow": (measured(20, bucket=SLOW), measured(20), True),
    "half as slow again is within it": (measured(20, bucket=FAST + 4), measured(20), False),
    "faster": (measured(20, bucket=FAST), measured(20, bucket=SLOW), False),
    "one slow answer in a hundred": (Measured(100, 0, {FAST: 99, SLOW: 1}), GOOD, False),
    "six slow answers in a hundred": (Measured(100, 0, {FAST: 94, SLOW: 6}), GOOD, True),
}


@pytest.mark.parametrize(("candidate", "stable", "broken"), BREACHES.values(), ids=BREACHES)
def test_limits(candidate: Measured, stable: Measured, broken: bool) -> None:
    assert bool(breach(LIMITS, candidate, stable, (2, 1))) == broken


def test_what_pods_have_measured_is_added_up() -> None:
    assert added([Measured(3, 1, {1: 2}), Measured(2, 0, {1: 1, 5: 1})]) == Measured(5, 1, {1: 3, 5: 1})


@pytest.mark.parametrize(
    ("progress", "seconds"),
    [(at_step(10, 45), 15), (at_step(10, 90), 0), (at_step(100, 100), 200), (at_step(25, 1), 0)],
)
def test_the_next_look_is_at_the_end_of_the_step_or_window(progress: RolloutProgress, seconds: float) -> None:
    assert step_seconds_left(CANARY, progress, NOW) == seconds


def test_the_defaults_are_a_canary_of_two_minutes() -> None:
    spec: Any = RolloutSpec(strategy="Canary")
    assert [(step.weight, step.seconds) for step in spec.effective_steps] == [(10, 60), (50, 60)]
    assert spec.effective_limits == RolloutLimits()
