"""How the operator finds out whether the cluster has InferencePools, and what it reads of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import NAMESPACE, base_model
from tests.unit.registry_in_memory import InMemoryStore
from tests.wire.operator.api_server import ApiServer

from graft_operator.artifacts import Artifacts, Inline
from graft_operator.cluster import Cache, Cluster
from graft_operator.cluster.informer import Informer, Watched
from graft_operator.cluster.resources import INFERENCE_POOLS
from graft_operator.plan.snapshot import GatewayObserved
from graft_operator.reconcilers.base_snapshot import BaseSnapshots
from graft_operator.reconcilers.passes import Passes
from graft_operator.reconcilers.wanted_sets import WantedSets

PATH = "/apis/inference.networking.k8s.io/v1/inferencepools"
ACCEPTED = {
    "type": "Accepted",
    "status": "True",
    "reason": "Accepted",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
POOL: dict[str, Any] = {
    "metadata": {
        "uid": "u1",
        "name": "graft-tiny",
        "namespace": NAMESPACE,
        "resourceVersion": "3",
        "labels": {"graft.dev/owner-uid": "uid-of-tiny"},
    },
    "status": {
        "parents": [
            {
                "controllerName": "example.net/gateway",
                "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "inference"},
                "conditions": [ACCEPTED],
            },
            {"parentRef": {"name": "inference", "namespace": "edge"}},
        ]
    },
}


async def observed(server: ApiServer, cluster: Cluster, is_over: Callable[[Cache], bool]) -> GatewayObserved:
    """Watch until that is so, and return what a base's plan then sees."""
    cache = Cache()
    informer = Informer(cluster.transport, cache, Watched(resource=INFERENCE_POOLS, is_optional=True), None)
    watching = asyncio.create_task(informer.run())
    async with asyncio.timeout(10):
        while not is_over(cache):  # noqa: ASYNC110 - nothing tells of what an informer has come to
            await asyncio.sleep(0.01)
    watching.cancel()
    artifacts = Artifacts(InMemoryStore(), lookups=Inline())
    others: dict[str, Any] = dict.fromkeys(("agents", "rows", "effects", "reporter", "platform", "clock"))
    passes = Passes(cluster=cluster, cache=cache, artifacts=artifacts, wanted=WantedSets(cache), **others)
    assert server.requests[0].path == PATH
    return BaseSnapshots(passes).of(base_model(serves=())).gateway


def is_listed(cache: Cache) -> bool:
    return cache.is_synced(INFERENCE_POOLS, NAMESPACE)


def is_told(cache: Cache) -> bool:
    return bool(cache.problem(INFERENCE_POOLS, NAMESPACE))


async def test_a_cluster_may_lack_the_kind(server: ApiServer, cluster: Cluster) -> None:
    server.respond(404, "404 page not found")
    assert await observed(server, cluster, is_told) == GatewayObserved(api="Missing")


async def test_the_right_to_see_it_may_be_missing(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(403, "Forbidden", "may not list inferencepools")
    assert await observed(server, cluster, is_told) == GatewayObserved(api="Forbidden")


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_is_away_lacks_nothing(server: ApiServer, cluster: Cluster, status: int) -> None:
    server.refuse(status, "ServiceUnavailable", "starting")
    assert await observed(server, cluster, is_told) == GatewayObserved(api="Unknown")


async def test_before_it_is_listed_nothing_is_known(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {"metadata": {"resourceVersion": "7", "continue": "…"}, "items": []})  # the first of two pages
    server.refuse(500, "InternalError", "later")
    assert await observed(server, cluster, is_told) == GatewayObserved(api="Unknown")


async def test_there_may_be_no_pool(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {"metadata": {"resourceVersion": "7"}, "items": []})
    assert await observed(server, cluster, is_listed) == GatewayObserved(api="Served")


async def test_a_pool_is_read_with_what_gateways_say_of_it(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {"metadata": {"resourceVersion": "7"}, "items": [POOL]})
    seen = await observed(server, cluster, is_listed)
    assert seen.api == "Served"
    assert seen.pool is not None
    assert (seen.pool.uid, seen.pool.owner_uid) == ("u1", "uid-of-tiny")
    assert {name: [item.type for item in said] for name, said in seen.pool.parents.items()} == {
        "inference": ["Accepted"],
        "edge/inference": [],
    }
