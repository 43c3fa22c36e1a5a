"""An informer against an API server that goes away, refuses, forgets and lies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from graft_operator.cluster import informer as informer_module
from graft_operator.cluster.cache import Cache
from graft_operator.cluster.informer import Informer, Watched
from graft_operator.cluster.resources import JOBS
from graft_operator.cluster.transport import Transport
from graft_operator.controller_runtime.backoff import Backoff

Line = dict[str, Any] | bytes
PATH = "/apis/batch/v1/jobs"


def job(name: str, version: int) -> dict[str, Any]:
    metadata = {"namespace": "team-a", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {}}


def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": body}


@dataclass(slots=True)
class Script:
    """What the server answers to listings and watches, one after another; the last one again and again."""

    lists: list[Any] = field(default_factory=list)
    watches: list[Any] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def next(self, answers: list[Any]) -> Any:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if request.query.get("watch") != "true":
            answer = self.next(self.lists)
            return (
                web.json_response(text=json.dumps(answer)) if isinstance(answer, dict) else web.Response(status=answer)
            )
        answer = self.next(self.watches)
        if isinstance(answer, int):
            return web.Response(status=answer, text="{}")
        return await self._stream(request, answer)

    async def _stream(self, request: web.Request, lines: list[Line | None]) -> web.StreamResponse:
        """None in the lines resets the connection; the end of the lines says nothing any more."""
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            if line is None:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        await asyncio.sleep(60)
        return response


def listing(*jobs: dict[str, Any], version: int = 10, more: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return {"metadata": metadata, "items": list(jobs)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second where the real one waits for seconds."""
    monkeypatch.setattr(informer_module, "RETRY", Backoff(base_seconds=0.01, cap_seconds=0.02))
    monkeypatch.setattr(informer_module, "MISSING_SECONDS", 0.02)
    monkeypatch.setattr(informer_module, "OPTIONAL_SECONDS", 0.02)
    monkeypatch.setattr(informer_module, "SHORTEST_SECONDS", 0.01)


@asynccontextmanager
async def following(script: Script, namespace: str | None = None, **options: Any) -> AsyncIterator[Cache]:
    application = web.Application()
    application.router.add_get("/{tail:.*}", script.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    cache = Cache()
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as api:
            informer = Informer(Transport(api), cache, Watched(resource=JOBS, labels="a=b"), namespace, **options)
            running = asyncio.create_task(informer.run())
            yield cache
            assert not running.done(), "nothing that a server does ends an informer"
            running.cancel()
            await asyncio.wait([running])
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(0.005)


def names(cache: Cache) -> list[str]:
    return [name for _, name in cache.names(JOBS)]


async def test_it_lists_in_pages_and_watches_from_the_first_ones_version() -> None:
    pages = [listing(job("a", 3), version=10, more="token"), listing(job("b", 4), version=11)]
    script = Script(pages, [[event("ADDED", job("c", 12)), event("DELETED", job("a", 13))]])
    async with following(script) as cache:
        await until(lambda: names(cache) == ["b", "c"])
    first, second, watch = script.asked[:3]
    assert (first["limit"], second["continue"]) == ("250", "token")
    assert (watch["resourceVersion"], watch["allowWatchBookmarks"], watch["labelSelector"]) == ("10", "true", "a=b")


async def test_after_a_reset_it_goes_on_from_the_last_version_that_it_saw() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
    script = Script([listing()], [[event("ADDED", job("a", 12)), bookmark, None], [event("ADDED", job("b", 41))]])
    async with following(script) as cache:
        await until(lambda: names(cache) == ["a", "b"])
    assert [asked["resourceVersion"] for asked in script.asked if "watch" in asked][:2] == ["10", "40"]


@pytest.mark.parametrize(
    "too_old",
    [
        pytest.param([event("ERROR", {"code": 410, "message": "too old"})], id="an error in the stream"),
        pytest.param([event("ERROR", {"code": 500, "message": "etcd"})], id="another error in the stream"),
        pytest.param(410, id="an answer"),
        pytest.param([b"<html>a proxy's page</html>\n"], id="no event at all"),
        pytest.param([b'{"type": "ADDED", "object": null}\n'], id="an event without an object"),
    ],
)
async def test_what_was_deleted_before_a_new_listing_is_gone(too_old: Any) -> None:
    script = Script([listing(job("a", 3), job("b", 4)), listing(job("b", 4), version=50)], [too_old, []])
    async with following(script) as cache:
        await until(lambda: names(cache) == ["b"])


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_a_server_that_is_away_is_asked_again_and_what_is_known_stays(status: int) -> None:
    script = Script([listing(job("a", 3))], [status, status, [event("ADDED", job("b", 12))]])
    async with following(script) as cache:
        await until(lambda: bool(cache.problem(JOBS, "team-a")) or "b" in names(cache))
        assert "a" in names(cache)
        assert cache.is_synced(JOBS, "team-a")
        await until(lambda: names(cache) == ["a", "b"])


@pytest.mark.parametrize("status", [403, 404])
async def test_what_we_may_not_read_is_read_once_we_may(status: int) -> None:
    script = Script([status, status, listing(job("a", 3))], [[]])
    async with following(script, "team-a") as cache:
        await until(lambda: bool(cache.problem(JOBS, "team-a")))
        assert not cache.is_synced(JOBS, "team-a")
        await until(lambda: cache.is_synced(JOBS, "team-a"))
        assert names(cache) == ["a"]
        assert cache.problem(JOBS, "team-a") == ""


async def test_a_watch_that_says_nothing_any_more_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "QUIET_SECONDS", 0.05)
    script = Script([listing()], [[], [event("ADDED", job("a", 12))]])
    async with following(script) as cache:
        await until(lambda: names(cache) == ["a"])


async def test_a_watch_that_is_ended_at_once_again_and_again_is_not_begun_without_a_pause() -> None:
    class Ending(Script):
        async def _stream(self, request: web.Request, lines: Any) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            return response

    script = Ending([listing()], [[]])
    async with following(script):
        began = time.monotonic()
        await asyncio.sleep(0.2)
        # Each but the first list and watch comes after the pause.
        assert len(script.asked) <= 5 + (time.monotonic() - began) / informer_module.SHORTEST_SECONDS


async def test_now_and_then_everything_is_listed_anew() -> None:
    """What a watch has lost comes back by it."""
    script = Script([listing(), listing(job("lost", 5), version=20)], [[None]])
    async with following(script, relist_seconds=0.05) as cache:
        await until(lambda: names(cache) == ["lost"])
