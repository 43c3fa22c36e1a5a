"""On which pods an adapter is loaded that is not to be on all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from tests.builders import NOW, adapter_of_base, base_id, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.plan.placement.places import Placement, place
from graft_operator.plan.placement.pods import Holders, RevisionPods
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved

V1 = served_version(1)
NAMES = [f"adapter-{number}" for number in range(200)]
PODS = tuple(pod(f"tiny-{letter}") for letter in "abcd")


def chosen(adapter: str, pods: tuple[PodObserved, ...], replicas: int = 1) -> Holders:
    return RevisionPods(pods).choose(adapter, replicas, lambda _: True)


def in_order(adapter: str, pods: tuple[PodObserved, ...]) -> list[PodObserved]:
    return list(RevisionPods(pods).order(adapter))


def names(pods: tuple[PodObserved, ...]) -> list[str]:
    return [one.name for one in pods]


def home_of(adapter: str, pods: tuple[PodObserved, ...] = PODS) -> PodObserved:
    """The pod that comes first for the adapter."""
    return in_order(adapter, pods)[0]


def changed(one: PodObserved, **fields: Any) -> tuple[PodObserved, ...]:
    """All pods, of which this one is different."""
    return tuple(replace(other, **fields) if other.name == one.name else other for other in PODS)


def spread(placement: Placement) -> dict[str, tuple[str, ...]]:
    return {name: holders.names for name, holders in placement.holders.items()}


def settled(name: str, replicas: int | None = 1) -> AdapterOfBase:
    return adapter_of_base(name, target=V1, replicas=replicas)


def new(name: str, replicas: int | None = 1) -> AdapterOfBase:
    return adapter_of_base(name, target=V1, replicas=replicas, progress=RolloutProgress(start_time=NOW))


def test_adapters_are_spread_evenly() -> None:
    counts = Counter(name for adapter in NAMES for name in chosen(adapter, PODS).names)
    assert len(counts) == len(PODS)
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_pod_that_goes_moves_its_own_adapters_and_no_other() -> None:
    for adapter in NAMES:
        before, after = chosen(adapter, PODS).names, chosen(adapter, PODS[:-1]).names
        assert before == after or before == (PODS[-1].name,)


def test_a_pod_that_comes_takes_adapters_over_and_moves_none_between_others() -> None:
    moved = 0
    for adapter in NAMES:
        before, after = chosen(adapter, PODS[:-1], 2).names, chosen(adapter, PODS, 2).names
        gained = set(after) - set(before)
        assert gained <= {PODS[-1].name}
        moved += len(gained)
    assert 60 <= moved <= 140  # a pod of four gets half of the adapters that are on two pods each


def test_the_order_in_which_pods_are_listed_does_not_matter() -> None:
    assert all(chosen(adapter, PODS, 2) == chosen(adapter, PODS[::-1], 2) for adapter in NAMES)


def test_no_more_pods_are_chosen_than_there_are() -> None:
    assert chosen("support", PODS[:2], 5).names == ("tiny-a", "tiny-b")
    assert chosen("support", (), 2).names == ()


def test_a_pod_that_comes_up_is_told_what_belongs_on_it_and_another_stands_in_meanwhile() -> None:
    home = home_of("support")
    holders = chosen("support", changed(home, ready=False, reachable=False))
    assert names(holders.chosen) == [home.name]
    assert names(holders.stand_ins) == names(tuple(in_order("support", PODS)[1:2]))


def test_while_no_pod_is_ready_none_stands_in() -> None:
    starting = tuple(replace(one, ready=False, reachable=False) for one in PODS)
    assert chosen("support", starting) == Holders(chosen=(in_order("support", starting)[0],))


def test_who_answers_goes_on_until_the_chosen_pod_does() -> None:
    home, _, third, _ = in_order("support", PODS)
    on_third = changed(third, answering=frozenset({"support"}))
    assert chosen("support", on_third).names == tuple(sorted((home.name, third.name)))
    both = tuple(replace(one, answering=frozenset({"support"})) if one.name == home.name else one for one in on_third)
    assert chosen("support", both).names == (home.name,)


def test_a_chosen_pod_that_can_not_be_asked_for_a_moment_is_not_given_up() -> None:
    home, second, *_ = in_order("support", PODS)
    pods = tuple(
        replace(one, reachable=False) if one == home else replace(one, answering=frozenset({"support"}))
        for one in (home, second)
    )
    assert chosen("support", pods).names == (home.name,)


def test_a_pod_on_its_way_out_answers_until_its_successor_does() -> None:
    home, second, *_ = in_order("support", PODS)
    leaving = changed(home, leaving=True, answering=frozenset({"support"}))
    holders = chosen("support", leaving)
    assert (names(holders.chosen), names(holders.stand_ins)) == ([second.name], [home.name])
    moved = tuple(replace(one, answering=frozenset({"support"})) for one in leaving)
    assert chosen("support", moved).names == (second.name,)


def test_together_the_pods_hold_more_than_one_of_them() -> None:
    adapters = [new(name) for name in NAMES[:8]]
    placement = place(adapters, base_id("A"), 2, PODS)
    assert placement.waiting == ()
    assert Counter(name for held in spread(placement).values() for name in held) == dict.fromkeys(names(PODS), 2)


def test_one_more_than_they_hold_waits() -> None:
    placement = place([new(name) for name in NAMES[:9]], base_id("A"), 2, PODS)
    assert len(placement.waiting) == 1
    assert len(placement.versions) == 8


def test_a_full_pod_is_passed_over_and_whoever_is_at_home_stays() -> None:
    first, later = [name for name in NAMES if home_of(name) == PODS[0]][:2]
    at_home = changed(PODS[0], answering=frozenset({later}))
    told = spread(place([settled(first), settled(later)], base_id("A"), 1, at_home))
    assert told == {later: (PODS[0].name,), first: (in_order(first, PODS)[1].name,)}


def test_adapters_of_a_pod_that_is_gone_take_no_place_from_others() -> None:
    homeless, *others = [name for name in NAMES if home_of(name, PODS[:2]) == PODS[0]][:3]
    pods = (replace(PODS[0], answering=frozenset(others)),)
    placement = place([settled(name) for name in (homeless, *others)], base_id("A"), 2, pods)
    assert placement.waiting == (homeless,)
    assert sorted(placement.versions) == sorted(others)


def test_an_adapter_of_all_pods_needs_a_place_on_each() -> None:
    adapters = [settled("one"), new("everywhere", replicas=None)]
    assert place(adapters, base_id("A"), 1, PODS).waiting == ("everywhere",)
    assert place(adapters, base_id("A"), 2, PODS).waiting == ()


def test_an_adapter_that_finds_room_on_too_few_pods_answers_there_and_waits() -> None:
    only_on = next(name for name in NAMES if home_of(name, PODS[:2]) == PODS[0])
    placement = place([settled(only_on), new("both", replicas=2)], base_id("A"), 1, PODS[:2])
    assert spread(placement) == {only_on: (PODS[0].name,), "both": (PODS[1].name,)}
    assert placement.waiting == ("both",)


def test_a_new_version_is_loaded_where_the_one_before_answers() -> None:
    rolling = adapter_of_base(
        "support",
        target=served_version(2),
        previous=V1,
        replicas=2,
        progress=RolloutProgress(start_time=NOW, weight=10),
    )
    placement = place([rolling], base_id("A"), 1, PODS)
    assert [version.number for version in placement.versions["support"]] == [1, 2]
    assert len(placement.holders["support"].names) == 2


def test_while_an_adapter_of_all_pods_is_not_yet_on_all_its_requests_go_to_those_that_answer() -> None:
    everywhere = settled("support", replicas=None)
    assert spread(place([everywhere], base_id("A"), 1, PODS)) == {}
    on_one = changed(PODS[0], answering=frozenset({"support"}))
    assert spread(place([everywhere], base_id("A"), 1, on_one)) == {"support": tuple(names(PODS))}


def test_without_a_pod_nothing_waits_for_a_place() -> None:
    rolling = adapter_of_base(
        "support", target=served_version(2), previous=V1, replicas=1, progress=RolloutProgress(start_time=NOW)
    )
    placement = place([rolling, new("other")], base_id("A"), 2)
    assert placement.waiting == ()
    assert spread(placement) == {"support": (), "other": ()}
