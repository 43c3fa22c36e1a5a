"""Where the alias should point, and whether anybody answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, answering_pod, base_model, on_pod, pod, seen, served_version

from graft_operator.api.adapter_status import RolloutProgress, ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.api.rollout import RolloutSpec
from graft_operator.plan.rollout.coverage import coverage_of
from graft_operator.plan.rollout.messages import answering_versions
from graft_operator.plan.rollout.plan import Rollout, RolloutState, plan_rollout
from graft_operator.plan.snapshot import PodObserved

V1, V2, V3 = served_version(1), served_version(2), served_version(3)
V2_ON_B = served_version(2, "B")
TWO = base_model(replicas=2)
BOTH_BASES = base_model(resolved="B", serves=("A", "B"))
AT_ONCE = RolloutSpec(rollback_window_seconds=0)


def decided(one: PodObserved, target: int, previous: int | None) -> PodObserved:
    """The pod has applied a wanted set of this decision."""
    return replace(one, decision=(target, previous, 100))


def on_two(first: ServedVersion, second: ServedVersion, *known: ServedVersion) -> tuple[PodObserved, ...]:
    """Two pods that answer with these versions and have loaded the ``known`` ones beside."""
    loaded = tuple(on_pod(version) for version in {item.number: item for item in (first, second, *known)}.values())
    return (
        pod("pod-1", *loaded, active=(first.number,)),
        pod("pod-2", *loaded, active=(second.number,)),
    )


V2_EVERYWHERE = tuple(decided(one, 2, 1) for one in on_two(V2, V2, V1))


@dataclass(frozen=True, kw_only=True)
class Case:
    wanted: ServedVersion | None = None
    target: ServedVersion | None = None
    previous: ServedVersion | None = None
    spec: RolloutSpec = AT_ONCE
    since: int | None = None
    """Seconds since the target answered everywhere; None before that was seen."""
    base: BaseModel | None = TWO
    pods: tuple[PodObserved, ...] = ()
    expect: tuple[int | None, int | None]
    """Numbers of target and previous afterwards."""
    answering: int | None = None
    refused: int | None = None


CASES = {
    "nothing is wanted and nothing is served": Case(expect=(None, None)),
    "a first version becomes the target": Case(wanted=V1, expect=(1, None)),
    "a target stays while nothing else is wanted": Case(target=V1, pods=on_two(V1, V1), expect=(1, None), answering=1),
    "a second version keeps the first until it answers": Case(
        wanted=V2, target=V1, pods=on_two(V1, V1), expect=(2, 1), answering=1
    ),
    "half of the pods are not everywhere": Case(wanted=V2, target=V2, previous=V1, pods=on_two(V1, V2), expect=(2, 1)),
    "everywhere, by this decision, and no rollback window: the first is given up": Case(
        wanted=V2, target=V2, previous=V1, pods=V2_EVERYWHERE, expect=(2, None), answering=2
    ),
    "everywhere, but by an earlier decision: both stay": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        pods=tuple(decided(one, 2, None) for one in on_two(V2, V2)),
        expect=(2, 1),
        answering=2,
    ),
    "everywhere: the first is kept for the rollback window": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        spec=RolloutSpec(),
        pods=V2_EVERYWHERE,
        expect=(2, 1),
        answering=2,
    ),
    "a second before the end of the window the first is still there": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        spec=RolloutSpec(),
        since=299,
        pods=V2_EVERYWHERE,
        expect=(2, 1),
        answering=2,
    ),
    "at the end of the window the first is given up": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        spec=RolloutSpec(),
        since=300,
        pods=V2_EVERYWHERE,
        expect=(2, None),
        answering=2,
    ),
    "the pods had no room for the first: there is nothing to go back to quickly": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        spec=RolloutSpec(),
        since=10,
        pods=tuple(decided(one, 2, 1) for one in on_two(V2, V2)),
        expect=(2, None),
        answering=2,
    ),
    "a revert in the window goes back to what is still loaded": Case(
        wanted=V1, target=V2, previous=V1, spec=RolloutSpec(), since=10, pods=V2_EVERYWHERE, expect=(1, 2), answering=2
    ),
    "a third version in the window keeps the second and lets the first go": Case(
        wanted=V3, target=V2, previous=V1, spec=RolloutSpec(), since=10, pods=V2_EVERYWHERE, expect=(3, 2), answering=2
    ),
    "a pod that is not ready does not count": Case(
        wanted=V1,
        target=V1,
        pods=(answering_pod(V1), replace(answering_pod(V1, "pod-2"), ready=False)),
        expect=(1, None),
    ),
    "a pod that answers with other content of that number does not count": Case(
        wanted=V1,
        target=V1,
        pods=(answering_pod(V1), answering_pod(served_version(1, recipe=V2.digest), "pod-2")),
        expect=(1, None),
    ),
    "a third version takes the place of the second, and the first stays": Case(
        wanted=V3, target=V2, previous=V1, pods=on_two(V1, V2), expect=(3, 1)
    ),
    "a third version after a second that never answered keeps what did": Case(
        wanted=V3, target=V2, previous=V1, pods=on_two(V1, V1), expect=(3, 1), answering=1
    ),
    "a revert while rolling goes straight back": Case(
        wanted=V1, target=V2, previous=V1, pods=on_two(V1, V2), expect=(1, None)
    ),
    "a revert after all pods moved keeps the second until the first is back": Case(
        wanted=V1, target=V2, previous=V1, pods=on_two(V2, V2), expect=(1, 2), answering=2
    ),
    "a version that one pod refuses is given up everywhere": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        pods=(answering_pod(V2), pod("pod-2", on_pod(V1), on_pod(V2, "Refused", reason="BadShape"), active=(1,))),
        expect=(1, None),
        refused=2,
    ),
    "a refused version stays when there is nothing else": Case(
        wanted=V1, target=V1, pods=(pod("pod-1", on_pod(V1, "Refused", reason="BadShape")),), expect=(1, None)
    ),
    "a version that keeps failing is waited for": Case(
        wanted=V2,
        target=V2,
        previous=V1,
        pods=(
            pod("pod-1", on_pod(V1), on_pod(V2, "Failing"), active=(1,)),
            pod("pod-2", on_pod(V1), on_pod(V2, "Failing"), active=(1,)),
        ),
        expect=(2, 1),
        answering=1,
    ),
    "the same number with other content takes the place at once": Case(
        wanted=served_version(1, recipe=V2.digest), target=V1, pods=on_two(V1, V1), expect=(1, None)
    ),
    "a version on another base keeps the one on the base before": Case(
        wanted=V2_ON_B, target=V1, base=BOTH_BASES, pods=(answering_pod(V1),), expect=(2, 1), answering=1
    ),
    "pods of the other base do not count for a version": Case(
        wanted=V2_ON_B,
        target=V2_ON_B,
        previous=V1,
        base=BOTH_BASES,
        pods=(answering_pod(V1), pod("pod-b", on_pod(V2_ON_B, "Loading"), base="B")),
        expect=(2, 1),
        answering=1,
    ),
    "the last pod of the new base ends the rollout, and no window holds the old base": Case(
        wanted=V2_ON_B,
        target=V2_ON_B,
        previous=V1,
        spec=RolloutSpec(),
        base=BOTH_BASES,
        pods=(answering_pod(V1), decided(answering_pod(V2_ON_B, "pod-b", base="B"), 2, 1)),
        expect=(2, None),
        answering=2,
    ),
    "without replicas nothing answers, and nothing is given up": Case(
        wanted=V2, target=V2, previous=V1, base=base_model(replicas=0), expect=(2, 1)
    ),
    "a base that is away changes nothing": Case(target=V2, previous=V1, base=None, expect=(2, 1)),
}


def planned(**fields: Any) -> Rollout:
    defaults: dict[str, Any] = {"spec": AT_ONCE, "base": TWO, "now": NOW}
    return plan_rollout(RolloutState(**defaults | fields))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rollout(case: Case) -> None:
    begun = None if case.since is None else NOW - timedelta(seconds=case.since)
    rollout = planned(
        wanted=case.wanted,
        target=case.target,
        previous=case.previous,
        progress=RolloutProgress(start_time=NOW - timedelta(hours=1), step_time=begun) if case.previous else None,
        spec=case.spec,
        base=case.base,
        pods=case.pods,
    )
    numbers = tuple(version.number if version else None for version in (rollout.target, rollout.previous))
    assert numbers == case.expect
    assert (rollout.answering.number if rollout.answering else None) == case.answering
    assert (rollout.rollback.version.number if rollout.rollback else None) == case.refused
    if case.wanted is not None and case.refused is None:
        assert rollout.target == case.wanted


CANARY, PLAIN = RolloutProgress(start_time=NOW, weight=10, step_time=NOW), RolloutProgress(start_time=NOW)
ABSENT: dict[str, tuple[dict[str, Any], tuple[int, int | None, int | None]]] = {
    "what it has is what it will answer with": ({"wanted": V1, "target": V1}, (1, None, None)),
    "a first version needs no rollout": ({"wanted": V1, "target": V1, "progress": PLAIN}, (1, None, None)),
    "a published version is the target at once": ({"wanted": V2, "target": V1}, (2, None, None)),
    "and so is a version for another base": ({"wanted": V2_ON_B, "target": V1}, (2, None, None)),
    "a rollout ends: there is nothing left to take over from": (
        {"wanted": V2, "target": V2, "previous": V1, "progress": PLAIN},
        (2, None, None),
    ),
    "a move to another base ends, so that the old one can go": (
        {"wanted": V2_ON_B, "target": V2_ON_B, "previous": V1, "progress": CANARY},
        (2, None, None),
    ),
    "a canary is kept, and will begin its step anew": (
        {"wanted": V2, "target": V2, "previous": V1, "progress": CANARY},
        (2, 1, 10),
    ),
    "a canary that a person has promoted is over": (
        {
            "wanted": V2,
            "target": V2,
            "previous": V1,
            "progress": CANARY,
            "spec": RolloutSpec(strategy="Canary", promote=2),
        },
        (2, None, None),
    ),
    "a version that comes after a canary's is the target at once": (
        {"wanted": V3, "target": V2, "previous": V1, "progress": CANARY},
        (3, None, None),
    ),
    "nothing is wanted: what was the target still is": ({"wanted": None, "target": V1}, (1, None, None)),
}


@pytest.mark.parametrize(("given", "expected"), ABSENT.values(), ids=ABSENT)
def test_while_an_adapter_on_demand_has_no_place(
    given: dict[str, Any], expected: tuple[int, int | None, int | None]
) -> None:
    rollout = planned(**given, absent=True)
    assert rollout.target is not None
    numbers = rollout.target.number, rollout.previous.number if rollout.previous else None
    weight = rollout.progress.weight if rollout.progress else None
    assert (*numbers, weight) == expected
    assert rollout.progress is None or rollout.progress.step_time is None
    assert not rollout.done
    assert rollout.absent == (rollout.target.base_digest == given["target"].base_digest)


def test_a_rollout_that_an_earlier_release_began_goes_on() -> None:
    rollout = planned(wanted=V2, target=V2, previous=V1, pods=on_two(V1, V2))
    assert (rollout.target, rollout.previous, rollout.weight) == (V2, V1, 100)


def test_the_coverage_tells_what_the_first_pod_says_that_does_not_take_its_wanted_set() -> None:
    problem = "base.digest: the wanted set is for sha256:1, but this pod holds sha256:2"
    coverage = coverage_of(V1, TWO, (answering_pod(V1), pod("pod-2", problem=problem)))
    assert coverage.message == f"pod-2: {problem}"


def test_the_coverage_tells_how_far_it_is_and_what_the_first_failing_pod_says() -> None:
    failing = pod("pod-2", on_pod(V1, "Failing", reason="RegistryUnavailable", message="timeout"))
    coverage = coverage_of(V1, TWO, (answering_pod(V1), failing))
    assert (coverage.desired, coverage.loaded, coverage.failed, coverage.complete) == (2, 1, 1, False)
    assert coverage.message == "pod-2: RegistryUnavailable: timeout"


ANSWERING = {
    "one pod ahead of the other": (on_two(V1, V2), (1, 2)),
    "one pod without an answer": ((answering_pod(V1), pod("pod-2")), ()),
    "a version that is neither target nor previous, from a decision before": (on_two(V3, V2), (2, 3)),
}


@pytest.mark.parametrize(("pods", "numbers"), ANSWERING.values(), ids=ANSWERING)
def test_clients_are_answered_during_a_rollout(pods: tuple[PodObserved, ...], numbers: tuple[int, ...]) -> None:
    rollout = replace(planned(wanted=V2, target=V2, previous=V1, pods=pods), mode="MultiAdapter")
    assert answering_versions(seen(base=TWO, pods=pods), rollout) == numbers


def test_an_adapter_of_one_pod_is_rolled_out_when_one_answers() -> None:
    pods = (decided(on_two(V2, V2, V1)[0], 2, 1), pod("pod-2"))
    rollout = planned(wanted=V2, target=V2, previous=V1, replicas=1, pods=pods)
    assert (rollout.done, rollout.previous) == (True, None)
    assert (rollout.coverage.desired, rollout.coverage.loaded) == (1, 1)
    assert not planned(wanted=V2, target=V2, previous=V1, replicas=1, pods=(pod("pod-2"),)).done


def test_pods_that_are_too_many_answer_too_until_they_are_told_to_go() -> None:
    pods = (answering_pod(V1), pod("pod-2"))
    assert not coverage_of(V1, base_model(replicas=1), pods).complete
    assert coverage_of(V1, base_model(replicas=1), (*pods[:1], pod("pod-2", ready=False))).complete


def test_no_more_replicas_are_wanted_than_the_base_has() -> None:
    assert coverage_of(V1, TWO, on_two(V1, V1), replicas=3).complete
