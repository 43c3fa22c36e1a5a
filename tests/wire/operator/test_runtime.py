"""One life of the operator against a fake API server: lease, watches, reconciles, release."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry_in_memory import InMemoryStore
from tests.wire.operator.kubeconfig import write_kubeconfig
from tests.wire.operator.watch_server import WatchServer, watch_server

from graft_operator import runtime
from graft_operator.agents import AgentNews, Agents
from graft_operator.artifacts import Artifacts, InlineLookups
from graft_operator.cluster import Cache, Cluster
from graft_operator.controller_runtime.controller import Result
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key
from graft_operator.controller_runtime.leader import LeadershipLost
from graft_operator.controller_runtime.probes import Health
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.reconcilers import Dispatcher, platform_of
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


class Recording(Dispatcher):
    """Records the keys of all passes, and waits for some."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.keys: list[Key] = []

    async def reconcile(self, key: Key) -> Result:
        self.keys.append(key)
        return Result()

    async def seen(self, *expected: Key) -> None:
        """Wait until each key ran since the last call, then forget all."""
        await eventually(lambda: set(expected) <= set(self.keys), lambda: f"{expected} did not all run: {self.keys}")
        self.keys.clear()


@dataclass(frozen=True, slots=True)
class Life:
    """An operator that runs."""

    operator: Operator
    recording: Recording
    running: asyncio.Task[None]

    async def seen(self, *expected: Key) -> None:
        await self.recording.seen(*expected)


async def eventually(condition: Callable[[], bool], message: Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(message())
        await asyncio.sleep(0.01)


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def operator(
    server: WatchServer, *, resync_seconds: float | None = None, begins: bool = True, **environment: str
) -> AsyncIterator[Life]:
    stop, cache = asyncio.Event(), Cache()
    settings = Settings.from_environment(ENVIRONMENT | environment)
    if resync_seconds is not None:  # shorter than anybody may set it
        settings = settings.model_copy(update={"resync_seconds": resync_seconds})
    artifacts = Artifacts(InMemoryStore(), lookups=InlineLookups())
    async with Cluster.connect(identity="pod-1", cache=cache) as cluster, Agents.connect() as agents:
        recording = Recording(cluster, cache, artifacts, agents, platform_of(settings), now)
        health, queue = Health(clock=time.monotonic), WorkQueue[Key](workers=settings.workers)
        life = Operator(settings, cluster, cache, artifacts, agents, recording, health, queue, now=now)
        running = asyncio.create_task(life.run(stop))
        try:
            yield Life(life, recording, running)
        finally:
            if begins:
                await server.is_explored()
            stop.set()
            async with asyncio.timeout(60):
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


async def test_changes_of_objects_and_children_reach_the_reconciler(server: WatchServer) -> None:
    server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}})
    async with operator(server) as life:
        await life.seen(TINY)
        server.put("loraadapters", adapter())
        await life.seen(SUPPORT, TINY)
        server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}, "spec": {}})
        await life.seen(TINY, SUPPORT)
        server.put("jobs", child("support-train", "LoraAdapter", "support"))
        await life.seen(SUPPORT)
        server.put("deployments", child("tiny", "BaseModel", "tiny", "serving"))
        await life.seen(TINY)
        server.put("pods", child("support-train-x", "LoraAdapter", "support"))
        await life.seen(SUPPORT)
        server.put("pods", child("tiny-0", "BaseModel", "tiny", "serving"))
        await life.seen(TINY)
        server.put("services", child("tiny", "BaseModel", "tiny", "serving"))
        await life.seen(TINY)
        server.remove("services", "team-a", "tiny")
        await life.seen(TINY)
        server.remove("jobs", "team-a", "support-train")
        await life.seen(SUPPORT)
        server.remove("loraadapters", "team-a", "support")
        await life.seen(SUPPORT, TINY)


async def test_what_the_registry_and_the_pods_tell_reaches_the_reconciler(server: WatchServer) -> None:
    server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}})
    server.put("loraadapters", adapter())
    server.put("pods", child("tiny-0", "BaseModel", "tiny", "serving"))
    async with operator(server) as life:
        artifacts, agents = life.operator.artifacts, life.operator.agents
        await eventually(lambda: len(life.operator.cache) >= 3, lambda: "not all was listed")
        await life.seen(SUPPORT, TINY)
        artifacts.on_news("LoraAdapter", "team-a", "support")
        await life.seen(SUPPORT)
        artifacts.on_news("BaseModel", "team-a", "tiny")
        await life.seen(TINY)
        agents.on_news("team-a", "tiny-0", AgentNews(frozenset({"support", "of another base"}), base=False))
        await life.seen(SUPPORT)
        agents.on_news("team-a", "tiny-0", AgentNews(frozenset(), base=True))
        await life.seen(TINY)
        agents.on_news("team-a", "gone", AgentNews(frozenset({"nobody"}), base=True))
        life.recording.dataset_digests.on_news(SUPPORT)
        await eventually(lambda: bool(life.recording.keys), lambda: "nothing ran")
        assert set(life.recording.keys) == {SUPPORT}


async def test_a_pod_that_is_gone_is_followed_no_longer(server: WatchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("pods", child("tiny-0", "BaseModel", "tiny", "serving"))
    async with operator(server) as life:
        unfollowed: list[tuple[str, str]] = []
        monkeypatch.setattr(life.operator.agents, "unfollow", lambda *pod: unfollowed.append(pod))
        await life.seen(TINY)
        assert unfollowed == []
        server.remove("pods", "team-a", "tiny-0")
        await life.seen(TINY)
        assert unfollowed == [("team-a", "tiny-0")]


async def test_only_our_own_children_are_listed_and_watched(server: WatchServer) -> None:
    async with operator(server):
        for path in ("/apis/batch/v1/jobs", "/api/v1/pods", "/apis/apps/v1/deployments"):
            await eventually(
                lambda path=path: len(server.queries(path)) >= 2,  # type: ignore[misc]
                lambda path=path: f"no list and watch of {path}",  # type: ignore[misc]
            )
            queries = server.queries(path)
            assert {query["labelSelector"] for query in queries} == {"app.kubernetes.io/managed-by=graft"}
            assert any(query.get("watch") == "true" for query in queries)


async def test_nothing_but_the_lease_is_written(server: WatchServer) -> None:
    async with operator(server) as life:
        server.put("loraadapters", adapter())
        await life.seen(SUPPORT)
        server.remove("loraadapters", "team-a", "support")
        await life.seen(SUPPORT)
    written = {path for method, path, _ in server.requests if method != "GET"}
    lease = "/apis/coordination.k8s.io/v1/namespaces/graft-system/leases"
    assert written <= {lease, f"{lease}/graft-operator"}


async def test_in_chosen_namespaces_only_these_are_watched(server: WatchServer) -> None:
    for namespace in ("team-a", "team-b"):
        server.put("namespaces", {"metadata": {"name": namespace}})
    async with operator(server, GRAFT_WATCH_NAMESPACES="team-a") as life:
        server.put("loraadapters", adapter())
        await life.seen(SUPPORT)
    assert server.queries("/apis/graft.dev/v1alpha1/namespaces/team-a/loraadapters")
    assert not server.queries("/apis/graft.dev/v1alpha1/namespaces/team-b/loraadapters")
    assert not server.queries("/apis/graft.dev/v1alpha1/loraadapters")


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_what_one_namespace_answers_ends_nothing_for_the_others(
    server: WatchServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(runtime, "SYNC_SECONDS", 0.5)
    server.answers["/namespaces/team-b/"] = status
    server.put("loraadapters", adapter())
    async with operator(server, GRAFT_WATCH_NAMESPACES="team-a,team-b") as life:
        await life.seen(SUPPORT)
        server.put("loraadapters", adapter("large"))
        await life.seen(SUPPORT)
        assert not life.running.done()
    assert life.running.exception() is None


async def test_the_resync_looks_at_everything_in_its_time(server: WatchServer) -> None:
    server.put("basemodels", {"metadata": {"namespace": "team-a", "name": "tiny"}})
    server.put("loraadapters", adapter())
    async with operator(server, resync_seconds=1.0) as life:
        for _ in range(3):
            await life.seen(SUPPORT, TINY)


async def test_the_lease_is_held_while_working_and_released_at_the_end(server: WatchServer) -> None:
    server.put("loraadapters", adapter())
    async with operator(server) as life:
        await life.seen(SUPPORT)
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-1"
    assert life.running.exception() is None
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_a_stop_while_the_cluster_is_being_read_ends_the_process(server: WatchServer) -> None:
    server.answers["/loraadapters"] = 503
    async with operator(server, begins=False) as life:
        path = "/apis/graft.dev/v1alpha1/loraadapters"
        await eventually(lambda: bool(server.queries(path)), lambda: "nothing was listed")
    assert life.running.done()
    assert life.running.exception() is None
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""


async def test_a_standby_watches_nothing_and_stops_when_asked(server: WatchServer) -> None:
    moment = now().isoformat().replace("+00:00", "Z")
    spec = {"holderIdentity": "pod-0", "leaseDurationSeconds": 15, "renewTime": moment, "acquireTime": moment}
    server.put("leases", {"metadata": {"namespace": "graft-system", "name": "graft-operator"}, "spec": spec})
    server.put("loraadapters", adapter())
    async with operator(server, begins=False) as life:
        await asyncio.sleep(0.5)
    assert life.running.exception() is None
    assert life.recording.keys == []
    assert not server.queries("/apis/graft.dev/v1alpha1/loraadapters")
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-0"


async def test_a_lost_lease_ends_the_process_with_an_error(server: WatchServer) -> None:
    server.put("loraadapters", adapter())
    async with operator(server) as life:
        await life.seen(SUPPORT)
        lease = server.objects[LEASE]
        server.put("leases", {**lease, "spec": {**lease["spec"], "holderIdentity": "pod-2"}})
        async with asyncio.timeout(60):
            await asyncio.wait([life.running])
    error = life.running.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(LeadershipLost) is not None
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "pod-2"
