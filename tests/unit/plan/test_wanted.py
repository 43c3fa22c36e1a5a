"""The wanted sets of the revisions of one base, side by side."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import adapter_of_base, base_id, served_version

from graft_operator.plan.observed import AdapterOfBase
from graft_operator.plan.wanted import wanted_set

URLS = {base_id("A"): "http://a", base_id("B"): "http://b"}

CASES: dict[str, tuple[AdapterOfBase, dict[str, tuple[list[int], list[int], str | None] | None]]] = {
    "served on A": (
        adapter_of_base(target=served_version(1)),
        {"A": ([1], [1], None), "B": ([], [], "http://a")},
    ),
    "rolling out on A: the old one stays loaded, the new one is routed": (
        adapter_of_base(target=served_version(2), previous=served_version(1)),
        {"A": ([1, 2], [2], None), "B": ([], [], "http://a")},
    ),
    "moving to B: each base routes its own, and B forwards while it can't": (
        adapter_of_base(target=served_version(2, "B"), previous=served_version(1)),
        {"A": ([1], [1], None), "B": ([2], [2], "http://a")},
    ),
    "moved to B: A only forwards": (
        adapter_of_base(target=served_version(2, "B")),
        {"A": ([], [], "http://b"), "B": ([2], [2], None)},
    ),
    "moving to C from A: B forwards to where it answers": (
        adapter_of_base(target=served_version(2, "C"), previous=served_version(1)),
        {"B": ([], [], "http://a")},
    ),
    "moving from C, which is served no more: B forwards to the other": (
        adapter_of_base(target=served_version(2, "A"), previous=served_version(1, "C")),
        {"B": ([], [], "http://a")},
    ),
    "without a version": (adapter_of_base(), {"A": None, "B": None}),
    "being deleted": (adapter_of_base(target=served_version(1), deleting=True), {"A": None, "B": None}),
}


def entry(adapter: AdapterOfBase, base: str) -> dict[str, Any] | None:
    document = wanted_set("tiny", base_id(base), forward_base_to=None, adapters=[adapter], service_urls=URLS)
    return document["adapters"][0] if document["adapters"] else None


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
    moving = adapter_of_base(target=served_version(2, "B"), previous=served_version(1))
    for base in "AB":
        found = entry(moving, base)
        assert found is not None
        assert found["decision"] == {"target": 2, "previous": 1}


def test_the_order_of_adapters_does_not_depend_on_the_listing() -> None:
    names = [adapter_of_base(name, target=served_version(1)) for name in ("b", "a")]
    sets = [
        wanted_set("tiny", base_id("A"), forward_base_to=None, adapters=order, service_urls=URLS)
        for order in (names, names[::-1])
    ]
    assert sets[0] == sets[1]
