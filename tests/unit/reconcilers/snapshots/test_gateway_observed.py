"""What a base learns of the cluster's InferencePools: whether there are any, and what gateways say of its own."""

from __future__ import annotations

from typing import Any

from tests.builders import base_model

from graft_operator.cluster import Cache
from graft_operator.cluster.resources import INFERENCE_POOLS
from graft_operator.plan.snapshot import GatewayObserved
from graft_operator.reconcilers.snapshots.base_snapshot import gateway_observed

POOL: dict[str, Any] = {
    "metadata": {
        "uid": "u1",
        "namespace": "team-a",
        "name": "graft-tiny",
        "resourceVersion": "7",
        "labels": {"graft.dev/owner-uid": "uid-of-tiny"},
    },
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


def test_a_pool_is_read_with_what_gateways_say_of_it() -> None:
    cache = Cache()
    cache.put(INFERENCE_POOLS, POOL)
    cache.replace(INFERENCE_POOLS, None, [("team-a", "graft-tiny")], 8)
    seen = gateway_observed(cache, base_model())
    assert seen.api == "Served"
    assert seen.pool is not None
    assert (seen.pool.uid, seen.pool.owner_uid) == ("u1", "uid-of-tiny")
    assert {name: [item.type for item in said] for name, said in seen.pool.parents.items()} == {
        "inference": ["Accepted"],
        "edge/inference": [],
    }


def test_there_may_be_no_pool_no_kind_and_no_right_to_see_it() -> None:
    cache = Cache()
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Unknown")
    cache.fail(INFERENCE_POOLS, None, "no answer (503)")
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Unknown")
    cache.fail(INFERENCE_POOLS, None, "the server could not find the requested resource (404)", is_closed=True)
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Missing")
    cache.fail(INFERENCE_POOLS, None, "may not list inferencepools (403)", is_closed=True)
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Forbidden")
    cache.replace(INFERENCE_POOLS, None, [], 9)
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Served")


def test_a_kind_that_is_taken_away_is_no_longer_decided_from() -> None:
    cache = Cache()
    cache.put(INFERENCE_POOLS, POOL)
    cache.replace(INFERENCE_POOLS, None, [("team-a", "graft-tiny")], 8)
    cache.fail(INFERENCE_POOLS, None, "the server could not find the requested resource (404)", is_closed=True)
    assert gateway_observed(cache, base_model()) == GatewayObserved(api="Missing")
