"""Which kinds are watched, and the informers that do it: one for each kind, in each namespace that we may look into.

An informer that is refused, or whose namespace is gone, goes on trying by itself and disturbs no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

from graft_operator.cluster import workload
from graft_operator.cluster.cache import Cache
from graft_operator.cluster.informer import Informer, Watched
from graft_operator.cluster.resources import (
    BASE_MODELS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS_OF_PODS,
    INFERENCE_POOLS,
    JOBS,
    LORA_ADAPTERS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REFUSED_PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    USER_CONFIG_MAPS,
    WORKLOADS,
    Resource,
)
from graft_operator.cluster.transport import Transport
from graft_operator.manifests.labels import MANAGED_BY, MANAGER

OURS: Final = f"{MANAGED_BY}={MANAGER}"

WATCHED: Final = (
    Watched(resource=LORA_ADAPTERS),
    Watched(resource=BASE_MODELS),
    *(Watched(resource=kind, labels=OURS) for kind in (JOBS, PODS, DEPLOYMENTS, CONFIG_MAPS)),
    Watched(resource=USER_CONFIG_MAPS, labels=f"{MANAGED_BY}!={MANAGER}", metadata_only=True),
    *(
        Watched(resource=kind, labels=OURS, metadata_only=True, is_optional=True)
        for kind in (SERVICES, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, POD_DISRUPTION_BUDGETS, NETWORK_POLICIES)
    ),
    Watched(resource=INFERENCE_POOLS, is_optional=True),
    Watched(
        resource=WORKLOADS,
        is_optional=True,
        older_versions=("v1beta1",),
        page=25,  # everybody's, with templates of pods
        decode_page=workload.page_of,
        decode_event=workload.event_of,
    ),
    *(
        Watched(
            resource=kind, fields=f"reason={kind.view},regarding.kind={about}", is_optional=True, has_bookmarks=False
        )
        for kind, about in ((REFUSED_PODS, "Job"), *((kind, "Pod") for kind in EVENTS_OF_PODS))
    ),
)

NEEDED: Final = tuple(item.resource for item in WATCHED if not item.is_optional)


def informers(
    transport: Transport,
    cache: Cache,
    namespaces: Iterable[str],
    *,
    relist_seconds: float,
    beat: Callable[[], None] = lambda: None,
    without: Collection[Resource] = (),
) -> list[Informer]:
    """Return the informers of these namespaces, or of the whole cluster where none is named, ``without`` some kinds."""
    scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
    return [
        Informer(transport, cache, watched, scope, relist_seconds=relist_seconds, beat=beat)
        for scope in scopes
        for watched in WATCHED
        if watched.resource not in without
    ]


def first_unsynced(cache: Cache, namespace: str) -> tuple[Resource, str] | None:
    """Return the first kind without which nothing can be decided in the namespace, and why it is not read yet."""
    for resource in NEEDED:
        if not cache.is_synced(resource, namespace):
            return resource, cache.problem(resource, namespace)
    return None


async def wait_for_sync(cache: Cache, namespaces: Iterable[str], *, seconds: float) -> None:
    """Wait until all needed kinds were listed, for ``seconds`` at most: we may have no rights in a namespace."""
    scopes = tuple(namespaces) or ("",)
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if all(first_unsynced(cache, scope) is None for scope in scopes):
            return
        await asyncio.sleep(0.05)
