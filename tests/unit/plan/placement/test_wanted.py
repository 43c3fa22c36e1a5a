"""The wanted sets of the revisions of one base, side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import NOW, adapter_of_base, base_id, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.plan.placement.places import place
from graft_operator.plan.placement.pods import Holders
from graft_operator.plan.placement.wanted_set import (
    LIMIT_BYTES,
    NEWCOMERS_BYTES,
    WantedSet,
    entries_of,
    peers_of,
    wanted_set,
    within_limit,
)
from graft_operator.plan.snapshot import AdapterOfBase

URLS = {base_id("A"): "http://a", base_id("B"): "http://b"}
PODS = (pod("pod-b", host="[fd00::2]"), pod("pod-a", host="10.0.0.1"), pod("pod-c", host="10.0.0.3", ready=False))
BEGUN = RolloutProgress(start_time=NOW)
PROMISED = 3500
"""Adapters with names of 20 characters and one version, by ADR 4."""

CASES: dict[str, tuple[AdapterOfBase, dict[str, tuple[list[int], list[int], str | None] | None]]] = {
    "served on A": (
        adapter_of_base(target=served_version(1)),
        {"A": ([1], [1], None), "B": ([], [], "http://a")},
    ),
    "rolling out on A: the old one stays loaded, the new one is routed": (
        adapter_of_base(target=served_version(2), previous=served_version(1), progress=BEGUN),
        {"A": ([1, 2], [2], None), "B": ([], [], "http://a")},
    ),
    "moving to B: each base routes its own, and B forwards while it can't": (
        adapter_of_base(target=served_version(2, "B"), previous=served_version(1), progress=BEGUN),
        {"A": ([1], [1], None), "B": ([2], [2], "http://a")},
    ),
    "moved to B: A only forwards": (
        adapter_of_base(target=served_version(2, "B")),
        {"A": ([], [], "http://b"), "B": ([2], [2], None)},
    ),
    "moving to C from A: B forwards to where it answers": (
        adapter_of_base(target=served_version(2, "C"), previous=served_version(1), progress=BEGUN),
        {"B": ([], [], "http://a")},
    ),
    "moving from C, which is served no more: B forwards to the other": (
        adapter_of_base(target=served_version(2, "A"), previous=served_version(1, "C"), progress=BEGUN),
        {"B": ([], [], "http://a")},
    ),
    "without a version": (adapter_of_base(), {"A": None, "B": None}),
    "being deleted": (adapter_of_base(target=served_version(1), deleting=True), {"A": None, "B": None}),
}


def document(*adapters: AdapterOfBase, base: str = "A", places: int = 4) -> dict[str, Any]:
    placement = place(adapters, base_id(base), places, PODS)
    return wanted_set(
        "tiny",
        base_id(base),
        forward_base_to=None,
        adapters=adapters,
        service_urls=URLS,
        placement=placement,
        peers=PODS,
    )


def entry(adapter: AdapterOfBase, base: str, *siblings: AdapterOfBase, places: int = 4) -> dict[str, Any] | None:
    entries: list[dict[str, Any]] = document(adapter, *siblings, base=base, places=places)["adapters"]
    return next((found for found in entries if found["name"] == adapter.name), None)


@pytest.mark.parametrize(("adapter", "expected"), CASES.values(), ids=CASES)
def test_entry(adapter: AdapterOfBase, expected: dict[str, tuple[list[int], list[int], str | None] | None]) -> None:
    for base, what in expected.items():
        found = entry(adapter, base)
        if what is None:
            assert found is None
            continue
        assert found is not None
        versions, route, forward_to = what
        assert [item["number"] for item in found["versions"]] == versions
        assert found["route"] == [{"number": number, "weight": 100} for number in route]
        assert found["forwardTo"] == forward_to


def test_every_revision_tells_which_decision_it_carries_out() -> None:
    moving = adapter_of_base(target=served_version(2, "B"), previous=served_version(1), progress=BEGUN)
    for base in "AB":
        found = entry(moving, base)
        assert found is not None
        assert found["decision"] == {"target": 2, "previous": 1, "weight": 100}


CANARY = BEGUN.model_copy(update={"weight": 10})
WINDOW = BEGUN.model_copy(update={"step_time": NOW})
OTHERS = tuple(adapter_of_base(name, target=served_version(1)) for name in ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("progress", "siblings", "loaded", "route"),
    [
        pytest.param(CANARY, (), [1, 2], [(1, 90), (2, 10)], id="a step of a canary"),
        pytest.param(WINDOW, (), [1, 2], [(2, 100)], id="the rollback window: the one before stays loaded"),
        pytest.param(CANARY, OTHERS, [1], [(1, 100)], id="no place for the candidate: the one before answers"),
        pytest.param(WINDOW, OTHERS, [2], [(2, 100)], id="no place for a way back"),
    ],
)
def test_requests_are_split_as_far_as_there_are_places(
    progress: RolloutProgress,
    siblings: tuple[AdapterOfBase, ...],
    loaded: list[int],
    route: list[tuple[int, int]],
) -> None:
    moving = adapter_of_base(target=served_version(2), previous=served_version(1), progress=progress)
    found = entry(moving, "A", *siblings, places=3)
    assert found is not None
    assert [item["number"] for item in found["versions"]] == loaded
    assert [(item["number"], item["weight"]) for item in found["route"]] == route
    assert found["decision"]["weight"] == progress.weight


SCORED: dict[str, tuple[AdapterOfBase, dict[str, int] | None]] = {
    "in a canary": (
        adapter_of_base(target=served_version(2), previous=served_version(1), progress=CANARY, scores_probes=True),
        {"candidate": 2, "stable": 1},
    ),
    "in the rollback window": (
        adapter_of_base(target=served_version(2), previous=served_version(1), progress=WINDOW, scores_probes=True),
        {"candidate": 2, "stable": 1},
    ),
    "not on the way back": (
        adapter_of_base(target=served_version(1), previous=served_version(2), progress=WINDOW, scores_probes=True),
        None,
    ),
    "not where no limit depends on it": (
        adapter_of_base(target=served_version(2), previous=served_version(1), progress=CANARY),
        None,
    ),
    "not alone": (adapter_of_base(target=served_version(2), scores_probes=True), None),
    "not beside a version on another base": (
        adapter_of_base(target=served_version(2, "B"), previous=served_version(1), progress=BEGUN, scores_probes=True),
        None,
    ),
}


@pytest.mark.parametrize(("adapter", "scored"), SCORED.values(), ids=SCORED)
def test_two_versions_are_scored_where_a_limit_depends_on_it(
    adapter: AdapterOfBase, scored: dict[str, int] | None
) -> None:
    found = entry(adapter, "A")
    assert found is not None
    assert found.get("scoring") == scored


def test_the_order_of_adapters_does_not_depend_on_the_listing() -> None:
    names = [adapter_of_base(name, target=served_version(1)) for name in ("b", "a")]
    assert document(*names) == document(*names[::-1])


def test_pods_and_peers_are_told_only_where_an_adapter_is_not_on_every_pod() -> None:
    assert "peers" not in document(adapter_of_base(target=served_version(1)))
    told = document(adapter_of_base("one", target=served_version(1), replicas=1), adapter_of_base("two"))
    assert told["peers"] == [
        {"name": "pod-a", "url": "http://10.0.0.1:8002"},
        {"name": "pod-b", "url": "http://[fd00::2]:8002"},
    ]
    assert [len(entry["pods"]) for entry in told["adapters"]] == [1]


def test_a_pod_that_comes_up_is_told_as_a_peer_where_no_other_one_holds_the_adapter() -> None:
    coming = pod("pod-c", host="10.0.0.3", ready=False)
    ready = pod("pod-a", host="10.0.0.1")
    assert [item["name"] for item in peers_of((ready, coming), [Holders((coming,))])] == ["pod-a", "pod-c"]
    assert [item["name"] for item in peers_of((ready, coming), [Holders((coming,), (ready,))])] == ["pod-a"]


def many(count: int, **fields: Any) -> dict[str, Any]:
    names = [f"adapter-{number:03d}" for number in range(count)]
    return document(*(adapter_of_base(name, target=served_version(1), **fields) for name in names), places=count)


def names_of(told: WantedSet) -> set[str]:
    return set(entries_of(told.document))


def bytes_of(told: dict[str, Any]) -> int:
    return len(json.dumps(told, sort_keys=True, separators=(",", ":")))


ROOM = LIMIT_BYTES - NEWCOMERS_BYTES


def test_a_set_that_fits_is_left_as_it_is() -> None:
    wanted = many(9)
    assert within_limit(wanted, {}) == WantedSet(wanted)


def test_one_that_is_too_large_leaves_newcomers_out_and_nobody_that_the_pods_know() -> None:
    told, wanted = many(6), many(9)
    known = {"adapters": told["adapters"][3:]}
    found = within_limit(wanted, known, limit=bytes_of(told))
    assert found.left_out == ("adapter-000", "adapter-001", "adapter-002", "adapter-006", "adapter-007", "adapter-008")
    assert names_of(found) == {"adapter-003", "adapter-004", "adapter-005"}
    assert bytes_of(found.document) <= bytes_of(told)


def test_room_is_left_for_the_rollouts_of_those_that_are_in_it() -> None:
    wanted = many(900)
    found = within_limit(wanted, {}, limit=bytes_of(wanted) - 1)
    assert found.left_out
    assert bytes_of(found.document) <= bytes_of(wanted) - ROOM
    again = within_limit(wanted, found.document, limit=bytes_of(wanted) - 1)
    assert names_of(again) == names_of(found)


def test_a_rollout_that_has_no_room_leaves_the_adapter_as_it_was() -> None:
    told = many(2)
    rolling = many(2, previous=served_version(3), progress=BEGUN)
    found = within_limit(rolling, told, limit=bytes_of(told))
    assert found == WantedSet(told, ("adapter-000", "adapter-001"))


def test_so_many_adapters_as_the_documents_promise_fit_into_a_config_map() -> None:
    adapters = [adapter_of_base(f"{number:020d}", target=served_version(1)) for number in range(PROMISED)]
    placement = place(adapters, base_id("A"), PROMISED)
    wanted = wanted_set(
        "tiny", base_id("A"), forward_base_to=None, adapters=adapters, service_urls=URLS, placement=placement
    )
    assert within_limit(wanted, {}).left_out == ()
    assert bytes_of(wanted) <= NEWCOMERS_BYTES
