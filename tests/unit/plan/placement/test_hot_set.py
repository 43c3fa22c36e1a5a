"""Who holds the places that are left for adapters that are loaded on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from tests.builders import (
    NOW,
    adapter_of_base,
    answering_pod,
    base_id,
    base_model,
    pod,
    served_version,
    serving_revision,
)

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.plan.placement.demand import WATCHING_SECONDS, Demand, absent_on, demand_on
from graft_operator.plan.placement.places import Placement, place
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved

V1, V2 = served_version(1), served_version(2)
IDLE = 60


def on_demand(names: str, **fields: object) -> tuple[AdapterOfBase, ...]:
    """Return settled adapters with names of one letter each."""
    return tuple(adapter_of_base(name, target=V1, on_demand=True, **fields) for name in names)


def always(names: str) -> tuple[AdapterOfBase, ...]:
    return tuple(adapter_of_base(name, target=V1) for name in names)


def new(name: str, **fields: object) -> AdapterOfBase:
    return adapter_of_base(name, target=V1, progress=RolloutProgress(start_time=NOW), **fields)


def rolling(name: str, **fields: object) -> AdapterOfBase:
    progress = RolloutProgress(start_time=NOW, weight=10)
    return adapter_of_base(name, target=V2, previous=V1, progress=progress, **fields)


def demand(absent: str = "", *, is_partial: bool = False, **seconds_ago: int) -> Demand:
    """Return the demand with the seconds since each adapter was last asked."""
    return replace(demand_of(seconds_ago, absent), is_partial=is_partial)


def demand_of(seconds_ago: Mapping[str, int], absent: str = "") -> Demand:
    asked = {name: NOW - timedelta(seconds=seconds) for name, seconds in seconds_ago.items()}
    return Demand(now=NOW, idle_seconds=IDLE, asked=asked, absent=frozenset(absent))


@dataclass(frozen=True, kw_only=True)
class Case:
    adapters: tuple[AdapterOfBase, ...]
    places: int = 2
    demand: Demand
    loaded: str
    absent: str = ""
    waiting: str = ""


CASES = {
    "while there is room for all, all are loaded, however long nobody has asked": Case(
        adapters=on_demand("ab"), demand=demand(a=90_000), loaded="ab"
    ),
    "with more than places, nobody gives way to one that nobody asks for": Case(
        adapters=on_demand("abc"), demand=demand("a", b=90_000, c=80_000), loaded="bc", absent="a"
    ),
    "one that is asked takes the place of the one that was idle longest": Case(
        adapters=on_demand("abc"), demand=demand("a", a=1, b=90, c=61), loaded="ac", absent="b"
    ),
    "but not of one that was asked within the idle time: it waits": Case(
        adapters=on_demand("abc"), demand=demand("a", a=1, b=59, c=2), loaded="bc", absent="a"
    ),
    "of two that are asked, the later one takes the only place that may be given": Case(
        adapters=on_demand("abcd"), demand=demand("ab", a=3, b=1, c=70, d=2), loaded="bd", absent="ac"
    ),
    "two that are asked take two idle places": Case(
        adapters=on_demand("abcd"), demand=demand("ab", a=3, b=1, c=70, d=80), loaded="ab", absent="cd"
    ),
    "one that was asked earlier than all that are loaded stays out, idle as they are": Case(
        adapters=on_demand("abc"), demand=demand("a", a=300, b=200, c=100), loaded="bc", absent="a"
    ),
    "asked in the same second: who has the place keeps it": Case(
        adapters=on_demand("abc"), demand=demand("a", a=90, b=90, c=90), loaded="bc", absent="a"
    ),
    "after a restart of all pods nobody knows anything, and all stays as it is": Case(
        adapters=on_demand("abcd"), demand=demand("ab"), loaded="cd", absent="ab"
    ),
    "at the very first look, with nothing to go by, it goes by name": Case(
        adapters=on_demand("cba"), demand=demand(), loaded="ab", absent="c"
    ),
    "while a pod can't be asked nobody gives way: it may know that they are in use": Case(
        adapters=on_demand("abc"), demand=demand("a", a=1, b=90, is_partial=True), loaded="bc", absent="a"
    ),
    "adapters that are loaded for good come first, asked or not": Case(
        adapters=(*on_demand("ab"), *always("z")), demand=demand(a=1, b=2), loaded="az", absent="b"
    ),
    "a new one that is loaded for good takes a place at once, in use as it is": Case(
        adapters=(*on_demand("ab"), new("z")), demand=demand(a=1, b=2), loaded="az", absent="b"
    ),
    "a new one on demand waits for its turn": Case(
        adapters=(*on_demand("bc"), new("a", on_demand=True)), demand=demand(b=90, c=90), loaded="bc", absent="a"
    ),
    "a new one on demand takes a free place at once": Case(
        adapters=(*on_demand("b"), new("a", on_demand=True)), demand=demand(b=1), loaded="ab"
    ),
    "a free place goes to the one that was asked last, however long ago": Case(
        adapters=on_demand("abc"), demand=demand("ab", a=900, b=800, c=1), loaded="bc", absent="a"
    ),
    "with fewer places than before, those in use stay": Case(
        adapters=on_demand("abc"), places=1, demand=demand(a=9, b=1, c=5), loaded="b", absent="ac"
    ),
    "what is served for good beyond the places leaves none": Case(
        adapters=(*on_demand("a"), *always("xyz")), demand=demand(a=1), loaded="xyz", absent="a"
    ),
    "a new version comes beside the one that is loaded, on the headroom": Case(
        adapters=(rolling("a", on_demand=True), *on_demand("b")), demand=demand(a=1, b=2), loaded="ab"
    ),
    "and not alone where that one has no place": Case(
        adapters=(rolling("a", on_demand=True), *on_demand("bc")), demand=demand("a", b=1, c=2), loaded="bc", absent="a"
    ),
    "rollouts of those that are loaded for good do not push anybody out": Case(
        adapters=(rolling("z"), *on_demand("a")), demand=demand(a=900), loaded="az"
    ),
    "one that is being deleted leaves its place": Case(
        adapters=(*on_demand("ab"), *on_demand("c", deleting=True)), demand=demand("a", c=1), loaded="ab"
    ),
}


def who(names: Iterable[str]) -> str:
    return "".join(sorted(names))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_who_holds_the_places(case: Case) -> None:
    for adapters in (case.adapters, case.adapters[::-1]):
        placement = place(adapters, base_id("A"), case.places, (), case.demand)
        assert (who(placement.versions), who(placement.absent)) == (case.loaded, case.absent)
        assert who(placement.waiting) == case.waiting


def test_the_two_versions_of_a_canary_are_loaded_together_or_not_at_all() -> None:
    adapters = (rolling("a", on_demand=True), *on_demand("bc"))
    placement = place(adapters, base_id("A"), 2, (), demand("b", a=1, c=2))
    assert [version.number for version in placement.versions["a"]] == [1, 2]


PODS = tuple(pod(f"pod-{number}") for number in range(3))


def spread(
    names: str, seconds_ago: Mapping[str, int], *, absent: str = "", pods: Sequence[PodObserved] = PODS
) -> Placement:
    """Place adapters that are on one pod each, two places a pod."""
    return place(on_demand(names, replicas=1), base_id("A"), 2, pods, demand_of(seconds_ago, absent))


def loaded_as(placement: Placement) -> list[PodObserved]:
    """Return the pods once they have loaded what is placed on them."""
    held = {one.name: [name for name, where in placement.holders.items() if one.name in where.names] for one in PODS}
    return [replace(one, answering=frozenset(held[one.name])) for one in PODS]


def test_pods_together_hold_more_of_those_that_are_on_few_of_them() -> None:
    placement = spread("abcdefgh", {"a": 900, "b": 800})
    assert who(placement.absent) == "gh"
    assert all(len(placement.holders[name].names) == 1 for name in placement.versions)


def test_who_is_asked_takes_a_place_on_one_pod_and_moves_nobody_else() -> None:
    idle = dict.fromkeys("abcdef", 900)
    before = spread("abcdefg", idle, absent="g")
    after = spread("abcdefg", idle | {"g": 1, "a": 990}, absent="g", pods=loaded_as(before))
    assert who(after.absent) == "a"
    assert after.holders["g"].names == before.holders["a"].names
    assert all(after.holders[name].names == before.holders[name].names for name in "bcdef")


def test_the_order_in_which_they_were_asked_moves_nobody() -> None:
    one = spread("abcdef", {"a": 1, "b": 2, "c": 3, "d": 4})
    assert spread("abcdef", {"a": 4, "b": 3, "c": 2, "d": 1}).holders == one.holders


def test_one_of_all_pods_is_not_kept_out_by_those_on_few_that_were_asked_before_it() -> None:
    adapters = (*on_demand("xyzw", replicas=1), *on_demand("a"))
    placement = place(adapters, base_id("A"), 2, PODS[:2], demand("a", a=1, x=70, y=80, z=90, w=100))
    assert who(placement.versions) == "axy"


def test_one_that_finds_too_few_pods_leaves_their_places_to_others() -> None:
    adapters = (*on_demand("a", replicas=2), *on_demand("b", replicas=1), *always("z"))
    full = [replace(PODS[0]), replace(PODS[1])]
    placement = place((*adapters, new("y", replicas=1)), base_id("A"), 2, full, demand(a=1, b=90))
    assert (who(placement.versions), who(placement.absent)) == ("byz", "a")


TIMES = {
    "the later time of two pods counts": ((30, 5), 5),
    "one pod that knows is enough": ((None, 7), 7),
    "nobody knows": ((None, None), None),
}


@pytest.mark.parametrize(("seconds_ago", "expected"), TIMES.values(), ids=TIMES)
def test_what_pods_know_is_put_together(seconds_ago: tuple[int | None, ...], expected: int | None) -> None:
    pods = [
        pod(f"pod-{number}", base=letter, asked={} if ago is None else {"support": NOW - timedelta(seconds=ago)})
        for number, (ago, letter) in enumerate(zip(seconds_ago, "AB", strict=True))
    ]
    found = demand_on(base_model(), pods, NOW).asked.get("support")
    assert found == (None if expected is None else NOW - timedelta(seconds=expected))


def test_each_revision_remembers_its_own() -> None:
    status = {"serving": (serving_revision("A", not_resident=("a",)), serving_revision("B", not_resident=("b",)))}
    base = base_model(status=status)
    assert [absent_on(base, base_id(letter)) for letter in "AB"] == [{"a"}, {"b"}]


@pytest.mark.parametrize(("ready", "reachable", "partial"), [(True, False, True), (False, False, False)])
def test_a_pod_that_gets_no_requests_hides_nothing(ready: bool, reachable: bool, partial: bool) -> None:
    pods = [replace(answering_pod(V1), ready=ready, reachable=reachable)]
    assert demand_on(base_model(), pods, NOW).is_partial == partial


LOOKS = {
    "all have a place": (demand(a=1), "", "ab", None),
    "nobody asks for the one without": (demand("c", a=1, b=1), "c", "ab", WATCHING_SECONDS),
    "it was asked long ago": (demand("c", a=1, b=1, c=100), "c", "ab", WATCHING_SECONDS),
    "it is asked: when the first of the others has been idle for long enough": (
        demand("c", a=1, b=50, c=2),
        "c",
        "ab",
        10,
    ),
    "it is asked, and that is long to come": (demand("c", a=1, b=1, c=2), "c", "ab", WATCHING_SECONDS),
    "it is asked, and that is at once": (demand("c", a=1, b=60, c=2), "c", "ab", 2),
    "there are no places for any": (demand("c", c=1), "c", "", WATCHING_SECONDS),
}


@pytest.mark.parametrize(("given", "absent", "resident", "expected"), LOOKS.values(), ids=LOOKS)
def test_when_it_has_to_be_looked_at_again(given: Demand, absent: str, resident: str, expected: float | None) -> None:
    assert given.next_look(absent, resident) == expected
