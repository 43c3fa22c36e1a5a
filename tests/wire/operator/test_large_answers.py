"""Listings and events that are large because others have made large objects: they must not fill the memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from graft_operator.cluster import informer as informer_module
from graft_operator.cluster.cache import Cache
from graft_operator.cluster.informer import Informer
from graft_operator.cluster.resources import JOBS, WORKLOADS, Resource
from graft_operator.cluster.transport import LARGEST_ANSWER, Transport
from graft_operator.cluster.watching import WATCHED
from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.plan.jobs import Queueing
from graft_operator.reconcilers.snapshots.workloads import kueue_of, queueing_of

NAMESPACE = "team-a"
JOB = {
    "metadata": {
        "namespace": NAMESPACE,
        "name": "train",
        "uid": "uid-of-job",
        "resourceVersion": "3",
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
    }
}
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "uid-of-job", "controller": True}
ENVIRONMENT = [{"name": f"E{number}", "value": "x" * 40} for number in range(10_000)]
"""About 700 KB of JSON, as a Job may have, and of which the server makes a Workload."""


def workload(name: str, version: int = 3, *, is_large: bool = True, namespace: str = "queuer") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    container = {"name": "main", "env": ENVIRONMENT if is_large else []}
    pod_sets = [{"name": "main", "count": 1, "template": {"spec": {"containers": [container]}}}]
    said = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "insufficient unused quota"}
    return {
        "metadata": metadata | {"ownerReferences": [OWNER], "managedFields": [{"manager": "kueue"}]},
        "spec": {"queueName": "gpus", "active": True, "podSets": pod_sets},
        "status": {"conditions": [said]},
    }


def event(kind: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


@dataclass(slots=True)
class Server:
    """Has Workloads in pages, as ``limit`` and ``continue`` say, and one Job."""

    workloads: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    """Of the first watch of Workloads; later ones are silent."""
    knows_limit: bool = True
    compresses: bool = False
    stale: int = 0
    """How many continued listings are answered with 410."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    """Of each listing of Workloads: the objects to begin at, and how many were asked for."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        is_workload = request.path.endswith("/workloads")
        if request.query.get("watch") == "true":
            events, self.events = (self.events, []) if is_workload else ([], self.events)
            return await self._watch(request, events)
        if not is_workload:
            return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [JOB]})
        first, number = int(request.query.get("continue", "0")), int(request.query["limit"])
        self.asked.append((first, number))
        if first and self.stale:
            self.stale -= 1
            return web.json_response({"kind": "Status", "code": 410, "reason": "Expired"}, status=410)
        end = first + number if self.knows_limit else len(self.workloads)
        metadata = {"resourceVersion": "9"} | ({"continue": str(end)} if end < len(self.workloads) else {})
        items = b",".join(self.workloads[first:end])
        answer = web.Response(body=b'{"metadata":%s,"items":[%s]}' % (json.dumps(metadata).encode(), items))
        if self.compresses:
            answer.enable_compression()
        return answer

    async def _watch(self, request: web.Request, events: Iterable[bytes]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in events:
            await response.write(line)
        await asyncio.sleep(60)
        return response

    def has(self, *workloads: dict[str, Any]) -> None:
        self.workloads = [json.dumps(body).encode() for body in workloads]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "RETRY", Backoff(base_seconds=0.01, cap_seconds=0.02))
    monkeypatch.setattr(informer_module, "OPTIONAL_SECONDS", 0.05)
    monkeypatch.setattr(informer_module, "SHORTEST_SECONDS", 0.01)


class Measuring(Cache):
    """Knows how large the largest Workload was that it was given."""

    largest = 0

    def put(self, resource: Resource, body: Mapping[str, Any], *, is_own: bool = False) -> bool:
        if resource == WORKLOADS:
            self.largest = max(self.largest, len(msgspec.json.encode(body)))
        return super().put(resource, body, is_own=is_own)


@asynccontextmanager
async def following(server: Server) -> AsyncIterator[Measuring]:
    """Watch Workloads and Jobs, as the operator does."""
    application = web.Application()
    application.router.add_get("/{tail:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    cache = Measuring()
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as api:
            transport = Transport(api)
            watched = [item for item in WATCHED if item.resource in (WORKLOADS, JOBS)]
            running = [asyncio.create_task(Informer(transport, cache, item, None).run()) for item in watched]
            yield cache
            assert not any(task.done() for task in running)
            for task in running:
                task.cancel()
            await asyncio.wait(running)
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("compresses", [False, True], ids=["plain", "compressed"])
async def test_large_templates_are_read_in_small_pages_and_not_kept(compresses: bool) -> None:
    server = Server(compresses=compresses)
    large = [workload(f"w{number}") for number in range(29)]
    server.has(*large, workload("mine", is_large=False, namespace=NAMESPACE))
    assert sum(map(len, server.workloads[:25])) > 2 * LARGEST_ANSWER
    assert sum(map(len, server.workloads[:5])) < LARGEST_ANSWER
    async with following(server) as cache:
        await until(lambda: cache.is_synced(WORKLOADS, NAMESPACE))
        assert len(cache.names(WORKLOADS)) == 30
        assert 0 < cache.largest < 1000
        assert queueing_of(JOB, cache) == Queueing(
            queue="gpus", kueue="Served", workload="mine", says="insufficient unused quota"
        )
    assert server.asked == [(0, 25), *((first, 5) for first in range(0, 30, 5))]


async def test_a_listing_that_went_stale_between_two_pages_is_begun_anew() -> None:
    server = Server(stale=1)
    server.has(*(workload(f"w{number}", is_large=False) for number in range(30)))
    async with following(server) as cache:
        await until(lambda: cache.is_synced(WORKLOADS, NAMESPACE))
        assert len(cache.names(WORKLOADS)) == 30
    assert server.asked == [(0, 25), (25, 25), (0, 25), (25, 25)]


@pytest.mark.parametrize("compresses", [False, True], ids=["plain", "compressed"])
async def test_an_answer_that_no_page_makes_smaller_leaves_everything_else_as_it_is(compresses: bool) -> None:
    server = Server(knows_limit=False, compresses=compresses)
    server.has(*(workload(f"w{number}") for number in range(15)))
    async with following(server) as cache:
        await until(lambda: bool(cache.problem(WORKLOADS, NAMESPACE)))
        assert f"more than {LARGEST_ANSWER} bytes" in cache.problem(WORKLOADS, NAMESPACE)
        assert queueing_of(JOB, cache) == Queueing(queue="gpus", kueue="TooLarge")
        await until(lambda: cache.is_synced(JOBS, NAMESPACE))
        assert cache.names(JOBS) == [(NAMESPACE, "train")]
        assert cache.names(WORKLOADS) == []
        assert [number for _, number in server.asked[:3]] == [25, 5, 1]
        server.has(workload("w0"))
        await until(lambda: kueue_of(cache, NAMESPACE) == "Served")
        assert cache.problem(WORKLOADS, NAMESPACE) == ""


async def test_large_events_are_not_kept_either() -> None:
    bookmark = event("BOOKMARK", {"kind": "Workload", "metadata": {"resourceVersion": "40"}})
    gone = event("DELETED", workload("w1", 13))
    server = Server(events=[event("ADDED", workload("w1", 11)), event("MODIFIED", workload("w2", 12)), gone, bookmark])
    async with following(server) as cache:
        await until(lambda: cache.names(WORKLOADS) == [("queuer", "w2")])
        assert 0 < cache.largest < 1000


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(event("ADDED", workload("w1", 12) | {"more": "x" * LARGEST_ANSWER}), id="too large"),
        pytest.param(b"x" * (LARGEST_ANSWER + 2**20), id="and without an end"),
    ],
)
async def test_an_event_that_is_too_large_is_not_read_and_the_kind_listed_anew(line: bytes) -> None:
    server = Server(events=[event("ADDED", workload("w1", 11)), line])
    server.has(workload("w0"))
    async with following(server) as cache:
        await until(lambda: kueue_of(cache, NAMESPACE) == "TooLarge")
        assert cache.is_synced(JOBS, NAMESPACE)
        await until(lambda: kueue_of(cache, NAMESPACE) == "Served")
    assert server.asked[0] == server.asked[1] == (0, 25)
