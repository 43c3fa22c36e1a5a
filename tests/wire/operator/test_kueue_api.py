"""How the operator reads what Kueue says: which not every cluster has, and not every one in the newest version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.builders import NAMESPACE
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import Cache, Cluster
from graft_operator.cluster.informer import Informer
from graft_operator.cluster.resources import WORKLOADS
from graft_operator.cluster.watching import WATCHED
from graft_operator.reconcilers.snapshots.workloads import kueue_of

NEW, OLD = (f"/apis/kueue.x-k8s.io/{version}/workloads" for version in ("v1beta2", "v1beta1"))
LISTED: dict[str, Any] = {"metadata": {"resourceVersion": "7"}, "items": []}


async def asked(server: ApiServer, cluster: Cluster, is_over: Callable[[Cache], bool]) -> tuple[str, list[str]]:
    """Watch until that is so; return whether there is a Kueue, and the paths that were asked for before a watch."""
    cache = Cache()
    [watched] = [item for item in WATCHED if item.resource == WORKLOADS]
    watching = asyncio.create_task(Informer(cluster.transport, cache, watched, None).run())
    async with asyncio.timeout(10):
        while not is_over(cache):  # noqa: ASYNC110 - nothing tells of what an informer has come to
            await asyncio.sleep(0.01)
    watching.cancel()
    return kueue_of(cache, NAMESPACE), [item.path for item in server.requests]


def is_listed(cache: Cache) -> bool:
    return cache.is_synced(WORKLOADS, NAMESPACE)


async def test_a_cluster_has_the_newest_version(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, LISTED)
    kueue, paths = await asked(server, cluster, is_listed)
    assert (kueue, paths[0]) == ("Served", NEW)


async def test_a_cluster_has_an_older_kueue(server: ApiServer, cluster: Cluster) -> None:
    server.respond(404, "404 page not found")
    server.respond(200, LISTED)
    kueue, paths = await asked(server, cluster, is_listed)
    assert (kueue, paths[:2]) == ("Served", [NEW, OLD])


async def test_a_cluster_has_no_kueue(server: ApiServer, cluster: Cluster) -> None:
    for _ in range(2):
        server.respond(404, "404 page not found")
    kueue, paths = await asked(server, cluster, lambda cache: len(server.requests) > 1 and not is_listed(cache))
    assert (kueue, paths) == ("Missing", [NEW, OLD])


async def test_the_right_to_read_it_may_be_missing(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(403, "Forbidden", "may not list workloads")
    kueue, paths = await asked(server, cluster, lambda cache: bool(cache.problem(WORKLOADS, NAMESPACE)))
    assert (kueue, paths) == ("Forbidden", [NEW])
