"""The wanted set: what the operator writes is what the agent reads (docs/contracts.md §6)."""

from __future__ import annotations

import json

import pytest
from tests.builders import NOW, adapter_of_base, base_id, pod, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.manifests.naming import service_url
from graft_operator.plan.placement.demand import Demand
from graft_operator.plan.placement.places import place
from graft_operator.plan.placement.wanted_set import wanted_set
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved
from graft_serving.wanted.documents import WantedPeer, WantedSet, parse_wanted_set

URLS = {base_id(letter): service_url("team-a", "tiny", base_id(letter)) for letter in "AB"}

ADAPTERS: dict[str, list[AdapterOfBase]] = {
    "no adapter": [],
    "one that is served": [adapter_of_base(target=served_version(1))],
    "one that rolls out": [adapter_of_base(target=served_version(2), previous=served_version(1))],
    "one in a canary": [
        adapter_of_base(
            target=served_version(2),
            previous=served_version(1),
            progress=RolloutProgress(weight=10, start_time=NOW),
        )
    ],
    "one that is held to its probe score": [
        adapter_of_base(target=served_version(2), previous=served_version(1), scores_probes=True)
    ],
    "one that moves to another base": [adapter_of_base(target=served_version(2, "B"), previous=served_version(1))],
    "one that is served elsewhere": [adapter_of_base(target=served_version(2, "B"))],
    "several": [adapter_of_base("a", target=served_version(1)), adapter_of_base("b", target=served_version(1, "B"))],
    "one without a version": [adapter_of_base()],
    "one that is loaded on demand": [adapter_of_base(target=served_version(1), on_demand=True)],
}


def read(
    adapters: list[AdapterOfBase], forward_base_to: str | None = None, pods: tuple[PodObserved, ...] = ()
) -> WantedSet:
    written = wanted_set(
        "tiny",
        base_id("A"),
        forward_base_to=forward_base_to,
        adapters=adapters,
        service_urls=URLS,
        placement=place(adapters, base_id("A"), 4, pods),
        peers=pods,
    )
    return parse_wanted_set(json.dumps(written).encode())


@pytest.mark.parametrize("adapters", ADAPTERS.values(), ids=ADAPTERS)
def test_the_agent_reads_every_wanted_set_that_the_operator_writes(adapters: list[AdapterOfBase]) -> None:
    wanted = read(adapters)
    assert [item.name for item in wanted.adapters] == [item.name for item in adapters if item.target]
    for entry, item in zip(wanted.adapters, [item for item in adapters if item.target], strict=True):
        local = [version for version in (item.previous, item.target) if version and version.base_digest == base_id("A")]
        assert [key.manifest_digest for key in entry.version_keys] == [version.digest for version in local]
        scored = entry.scored_versions
        assert (scored and [key.number for key in scored]) == ([2, 1] if item.scores_probes else None)
        weights = [share.weight for share in entry.desired_route]
        assert weights == ([90, 10] if item.weight == 10 else [100] * bool(local))


def test_the_pod_that_is_chosen_loads_the_adapter_and_the_others_know_whom_to_ask() -> None:
    pods = tuple(pod(f"pod-{number}", host=f"10.0.0.{number}") for number in (1, 2, 3))
    wanted = read([adapter_of_base(target=served_version(1), replicas=1)], pods=pods)
    parts = {one.name: wanted.part_of(one.name).adapters[0] for one in pods}
    (holder,) = [name for name, part in parts.items() if part.versions]
    assert [len(part.route) for part in parts.values()].count(1) == 1
    peer = next(WantedPeer(name=one.name, url=f"http://{one.host}:8002") for one in pods if one.name == holder)
    for name, part in parts.items():
        assert wanted.peers_with(part, besides=name) == (() if name == holder else (peer,))


def test_the_agent_takes_the_urls_of_our_services() -> None:
    wanted = read(ADAPTERS["one that is served elsewhere"], forward_base_to=URLS[base_id("B")])
    assert wanted.base.forward_to == wanted.adapters[0].forward_to == URLS[base_id("B")]


@pytest.mark.parametrize("places", [0, 4])
def test_the_agent_knows_one_that_is_loaded_on_demand_with_a_place_or_without(places: int) -> None:
    adapters = [adapter_of_base(target=served_version(1), on_demand=True)]
    demand = Demand(now=NOW, idle_seconds=60)
    placement = place(adapters, base_id("A"), places, (), demand)
    written = wanted_set(
        "tiny", base_id("A"), forward_base_to=None, adapters=adapters, service_urls=URLS, placement=placement
    )
    (adapter,) = parse_wanted_set(json.dumps(written).encode()).adapters
    assert adapter.on_demand
    assert bool(adapter.versions) == bool(places)
