"""How the operator finds out whether the cluster has InferencePools, and what it reads of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graft_operator.reconcilers.gateway_observer import GatewayObserver
from tests.builders import base_model
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import Cluster, Unavailable
from graft_operator.cluster.discovery import KEPT, Discovery
from graft_operator.cluster.resources import CONFIG_MAPS, INFERENCE_POOLS
from graft_operator.plan.snapshot import GatewayObserved

GROUP_PATH = "/apis/inference.networking.k8s.io/v1"
POOL_PATH = f"{GROUP_PATH}/namespaces/team-a/inferencepools/graft-tiny"
KINDS: dict[str, Any] = {
    "kind": "APIResourceList",
    "groupVersion": "inference.networking.k8s.io/v1",
    "resources": [
        {"name": "inferencepools", "kind": "InferencePool", "namespaced": True},
        {"name": "inferencepools/status", "kind": "InferencePool", "namespaced": True},
    ],
}
POOL: dict[str, Any] = {
    "metadata": {"uid": "u1", "name": "graft-tiny", "labels": {"graft.dev/owner-uid": "uid-of-tiny"}},
    "status": {
        "parents": [
            {
                "controllerName": "example.net/gateway",
                "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "inference"},
                "conditions": [
                    {
                        "type": "Accepted",
                        "status": "True",
                        "reason": "Accepted",
                        "message": "",
                        "observedGeneration": 1,
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            },
            {"parentRef": {"name": "inference", "namespace": "edge"}},
        ]
    },
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observer(cluster: Cluster, clock: Clock) -> GatewayObserver:
    return GatewayObserver(cluster, Discovery(cluster, clock))


def paths(server: ApiServer) -> list[str]:
    return [request.path for request in server.requests]


async def test_a_kind_is_looked_up_in_its_group_and_version(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, KINDS)
    assert await cluster.serves(INFERENCE_POOLS) is True
    server.respond(200, {"resources": [{"name": "configmaps", "kind": "ConfigMap"}]})
    assert await cluster.serves(CONFIG_MAPS) is True
    assert paths(server) == [GROUP_PATH, "/api/v1"]
    assert {request.method for request in server.requests} == {"GET"}


async def test_a_group_may_be_missing_or_hold_other_kinds(server: ApiServer, cluster: Cluster) -> None:
    server.respond(404, "404 page not found")
    assert await cluster.serves(INFERENCE_POOLS) is False
    server.respond(200, {"resources": [{"name": "inferencepoolimports", "kind": "InferencePoolImport"}]})
    assert await cluster.serves(INFERENCE_POOLS) is False


async def test_a_server_that_is_away_is_no_missing_kind(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(503, "ServiceUnavailable", "starting")
    with pytest.raises(Unavailable):
        await cluster.serves(INFERENCE_POOLS)


async def test_the_answer_is_kept_for_a_while_and_then_asked_again(
    server: ApiServer, cluster: Cluster, clock: Clock
) -> None:
    discovery = Discovery(cluster, clock)
    server.respond(404, "404 page not found")
    assert [await discovery.serves(INFERENCE_POOLS) for _ in range(3)] == [False] * 3
    assert len(server.requests) == 1
    clock.now += KEPT - timedelta(seconds=1)
    assert await discovery.serves(INFERENCE_POOLS) is False
    clock.now += timedelta(seconds=1)
    server.respond(200, KINDS)
    assert await discovery.serves(INFERENCE_POOLS) is True
    assert len(server.requests) == 2


async def test_without_the_kind_no_pool_is_asked_for(server: ApiServer, observer: GatewayObserver) -> None:
    server.respond(404, "404 page not found")
    assert await observer.observe(base_model()) == GatewayObserved(api="Missing")
    assert paths(server) == [GROUP_PATH]


async def test_a_pool_is_read_with_what_gateways_say_of_it(server: ApiServer, observer: GatewayObserver) -> None:
    server.respond(200, KINDS)
    server.respond(200, POOL)
    seen = await observer.observe(base_model())
    assert paths(server) == [GROUP_PATH, POOL_PATH]
    assert seen.api == "Served"
    assert seen.pool is not None
    assert (seen.pool.uid, seen.pool.owner_uid) == ("u1", "uid-of-tiny")
    assert {name: [item.type for item in said] for name, said in seen.pool.parents.items()} == {
        "inference": ["Accepted"],
        "edge/inference": [],
    }


async def test_there_may_be_no_pool_or_no_right_to_see_it(server: ApiServer, observer: GatewayObserver) -> None:
    server.respond(200, KINDS)
    server.refuse(404, "NotFound", "no")
    assert await observer.observe(base_model()) == GatewayObserved(api="Served")
    server.refuse(403, "Forbidden", "may not get inferencepools")
    assert await observer.observe(base_model()) == GatewayObserved(api="Forbidden")
