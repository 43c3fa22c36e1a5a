"""Reads whether the cluster has InferencePools, and the one that is named as a base's Service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft_operator.api.base_model import BaseModel
from graft_operator.api.conditions import Condition
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.discovery import Discovery
from graft_operator.cluster.errors import Forbidden
from graft_operator.cluster.resources import INFERENCE_POOLS
from graft_operator.manifests import labels
from graft_operator.manifests.naming import serving_name
from graft_operator.plan.snapshot import GatewayObserved, PoolObserved


class GatewayObserver:
    """Reads, for one base at a time. Bases that ask for no Gateway are read, too: they may have asked before."""

    def __init__(self, cluster: Cluster, discovery: Discovery) -> None:
        self._cluster = cluster
        self._discovery = discovery

    async def observe(self, base: BaseModel) -> GatewayObserved:
        """Return what there is. Raises what the cluster raises when it is away."""
        if not await self._discovery.serves(INFERENCE_POOLS):
            return GatewayObserved(api="Missing")
        name = serving_name(base.metadata.name)
        try:
            body = await self._cluster.get(INFERENCE_POOLS, base.metadata.namespace, name)
        except Forbidden:
            return GatewayObserved(api="Forbidden")
        return GatewayObserved(api="Served", pool=None if body is None else pool_observed(body))


def pool_observed(body: Mapping[str, Any]) -> PoolObserved:
    """Return the pool and what Gateways say of it."""
    metadata = body["metadata"]
    parents = body.get("status", {}).get("parents", [])
    return PoolObserved(
        uid=metadata["uid"],
        owner_uid=metadata.get("labels", {}).get(labels.OWNER_UID, ""),
        parents={
            gateway_name(parent["parentRef"]): tuple(map(Condition.model_validate, parent.get("conditions", [])))
            for parent in parents
        },
    )


def gateway_name(reference: Mapping[str, Any]) -> str:
    """Return the name of a Gateway, with its namespace where that need not be the pool's."""
    namespace = reference.get("namespace")
    return f"{namespace}/{reference['name']}" if namespace else str(reference["name"])
