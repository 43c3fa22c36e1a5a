"""One life of the operator against a fake API server: lease, watches, reconciles, release."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.wire.operator.kubeconfig import write_kubeconfig
from tests.wire.operator.watch_server import WatchServer, watch_server

from graft_operator.agents import Agents
from graft_operator.cluster import Cluster
from graft_operator.engine.controller import Result
from graft_operator.engine.keys import AdapterKey, BaseKey, Key
from graft_operator.engine.leader import LeadershipLost
from graft_operator.engine.probes import Health
from graft_operator.runtime import Operator
from graft_operator.settings import Settings

SUPPORT, TINY = AdapterKey("team-a", "support"), BaseKey("team-a", "tiny")
LEASE = ("leases", "graft-system", "graft-operator")
ENVIRONMENT = {
    "GRAFT_LEASE_NAMESPACE": "graft-system",
    "GRAFT_IDENTITY": "pod-1",
    "GRAFT_REGISTRY": '{"bucket": "graft"}',
    "GRAFT_TRAINER_IMAGE": "t",
    "GRAFT_AGENT_IMAGE": "a",
    "GRAFT_REGISTRY_IMAGE": "r",
    "GRAFT_ENGINE_IMAGE": "e",
}


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[WatchServer]:
    async with watch_server() as running:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, running.url)))
        yield running


class RecordingAgents(Agents):
    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(session)
        self.forgotten: list[tuple[str, str]] = []

    def invalidate(self, namespace: str, pod_name: str) -> None:
        self.forgotten.append((namespace, pod_name))


class Reconciles:
    """Records the keys of all passes, and waits for some."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    async def __call__(self, key: Key) -> Result:
        self.keys.append(key)
        return Result()

    async def seen(self, *expected: Key) -> None:
        """Wait until each key ran since the last call, then forget all."""
        await eventually(lambda: set(expected) <= set(self.keys), f"{expected} did not all run: {self.keys}")
        self.keys.clear()


async def eventually(condition: Callable[[], bool], message: str) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(message)


@asynccontextmanager
async def operator(
    reconcile: Reconciles, **environment: str
) -> AsyncIterator[tuple[asyncio.Task[None], RecordingAgents]]:
    stop = asyncio.Event()
    async with Cluster.connect(identity="pod-1") as cluster, aiohttp.ClientSession() as session:
        agents = RecordingAgents(session)
        health = Health(clock=time.monotonic)
        settings = Settings.from_environment(ENVIRONMENT | environment)
        life = Operator(settings, cluster, agents, reconcile, health, now=lambda: datetime.now(UTC))
        running = asyncio.create_task(life.run(stop))
        try:
            yield running, agents
        finally:
            stop.set()
            async with asyncio.timeout(10):
                await asyncio.wait([running])


def adapter(base: str = "tiny") -> dict[str, Any]:
    return {"metadata": {"namespace": "team-a", "name": "support"}, "spec": {"baseModelRef": {"name": base}}}


def child(name: str, kind: str, owner: str, component: str = "training") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team-a",
            "name": name,
            "labels": {"graft.dev/owner-kind": kind, "graft.dev/component": component},
            "annotations": {"graft.dev/owner-name": owner},
        }
    }


async def test_events_of_objects_and_children_reach_the_reconciler(server: WatchServer) -> None:
    server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}})
    reconcile = Reconciles()
    async with operator(reconcile) as (_, agents):
        await reconcile.seen(TINY)
        server.put("loraadapters", adapter())
        await reconcile.seen(SUPPORT, TINY)
        server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}, "spec": {}})
        await reconcile.seen(TINY, SUPPORT)
        server.put("jobs", child("support-train", "LoraAdapter", "support"))
        await reconcile.seen(SUPPORT)
        server.put("deployments", child("tiny", "BaseModel", "tiny", "serving"))
        await reconcile.seen(TINY)
        server.put("pods", child("support-train-x", "LoraAdapter", "support"))
        await reconcile.seen(SUPPORT)
        assert agents.forgotten == []
        server.put("pods", child("tiny-0", "BaseModel", "tiny", "serving"))
        await reconcile.seen(TINY)
        assert agents.forgotten == [("team-a", "tiny-0")]
        server.remove("jobs", "team-a", "support-train")
        await reconcile.seen(SUPPORT)
        server.remove("loraadapters", "team-a", "support")
        await reconcile.seen(SUPPORT, TINY)


async def test_only_our_own_children_are_listed_and_watched(server: WatchServer) -> None:
    reconcile = Reconciles()
    async with operator(reconcile):
        for path in ("/apis/batch/v1/jobs", "/api/v1/pods", "/apis/apps/v1/deployments"):
            await eventually(lambda path=path: len(server.queries(path)) >= 2, f"no list and watch of {path}")  # type: ignore[misc]
            queries = server.queries(path)
            assert {query["labelSelector"] for query in queries} == {"app.kubernetes.io/managed-by=graft"}
            assert any(query.get("watch") == "true" for query in queries)


async def test_nothing_but_the_lease_is_written(server: WatchServer) -> None:
    reconcile = Reconciles()
    async with operator(reconcile):
        server.put("loraadapters", adapter())
        await reconcile.seen(SUPPORT)
        server.remove("loraadapters", "team-a", "support")
        await reconcile.seen(SUPPORT)
    written = {path for method, path, _ in server.requests if method != "GET"}
    lease = "/apis/coordination.k8s.io/v1/namespaces/graft-system/leases"
    assert written <= {lease, f"{lease}/graft-operator"}


async def test_in_chosen_namespaces_only_these_are_watched(server: WatchServer) -> None:
    for namespace in ("team-a", "team-b"):
        server.put("namespaces", {"metadata": {"name": namespace}})
    reconcile = Reconciles()
    async with operator(reconcile, GRAFT_WATCH_NAMESPACES="team-a"):
        server.put("loraadapters", adapter())
        await reconcile.seen(SUPPORT)
    assert server.queries("/apis/graft.dev/v1alpha1/namespaces/team-a/loraadapters")
    assert not server.queries("/apis/graft.dev/v1alpha1/namespaces/team-b/loraadapters")
    assert not server.queries("/apis/graft.dev/v1alpha1/loraadapters")


async def test_the_lease_is_held_while_working_and_released_at_the_end(server: WatchServer) -> None:
    reconcile = Reconciles()
    server.put("loraadapters", adapter())
    async with operator(reconcile) as (running, _):
        await reconcile.seen(SUPPORT)
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-1"
    assert running.exception() is None
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_a_standby_watches_nothing_and_stops_when_asked(server: WatchServer) -> None:
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    spec = {"holderIdentity": "pod-0", "leaseDurationSeconds": 15, "renewTime": moment, "acquireTime": moment}
    server.put("leases", {"metadata": {"namespace": "graft-system", "name": "graft-operator"}, "spec": spec})
    reconcile = Reconciles()
    server.put("loraadapters", adapter())
    async with operator(reconcile) as (running, _):
        await asyncio.sleep(0.5)
    assert running.exception() is None
    assert reconcile.keys == []
    assert not server.queries("/apis/graft.dev/v1alpha1/loraadapters")
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-0"


async def test_a_lost_lease_ends_the_process_with_an_error(server: WatchServer) -> None:
    reconcile = Reconciles()
    server.put("loraadapters", adapter())
    async with operator(reconcile) as (running, _):
        await reconcile.seen(SUPPORT)
        lease = server.objects[LEASE]
        server.put("leases", {**lease, "spec": {**lease["spec"], "holderIdentity": "pod-2"}})
        async with asyncio.timeout(10):
            await asyncio.wait([running])
    error = running.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(LeadershipLost) is not None
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-2"
