"""How the operator finds out whether the cluster has InferencePools, which not every one has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.builders import NAMESPACE, base_model
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import Cache, Cluster
from graft_operator.cluster.informer import Informer, Watched
from graft_operator.cluster.resources import INFERENCE_POOLS
from graft_operator.plan.snapshot import GatewayObserved
from graft_operator.reconcilers.snapshots.base_snapshot import gateway_observed

PATH = "/apis/inference.networking.k8s.io/v1/inferencepools"


async def observed(server: ApiServer, cluster: Cluster, is_over: Callable[[Cache], bool]) -> GatewayObserved:
    """Watch until that is so, and return what a base's plan then sees."""
    cache = Cache()
    informer = Informer(cluster.transport, cache, Watched(resource=INFERENCE_POOLS, is_optional=True), None)
    watching = asyncio.create_task(informer.run())
    async with asyncio.timeout(60):
        while not is_over(cache):  # noqa: ASYNC110 - nothing tells of what an informer has come to
            await asyncio.sleep(0.01)
    watching.cancel()
    assert server.requests[0].path == PATH
    return gateway_observed(cache, base_model())


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
