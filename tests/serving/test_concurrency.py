"""The concurrency test asks a real HTTP endpoint: what it counts is what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from graft_serving.concurrency import ConcurrencyRequest, run


class Endpoint:
    """An API that knows some models and counts how many requests were under way at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: set[str | None] = set()

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["model"])
        self.keys.add(request.headers.get("Authorization"))
        return web.json_response({"choices": []}, status=200 if body["model"] != "broken" else 500)


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    endpoint, app = Endpoint(), web.Application()
    app.router.add_post("/v1/completions", endpoint.complete)
    async with TestServer(app) as server:
        yield endpoint, str(server.make_url("")).rstrip("/")


def request_to(url: str, *adapters: str) -> ConcurrencyRequest:
    return ConcurrencyRequest(
        namespace="team-a",
        base="tiny",
        url=url,
        adapters=adapters,
        digest="sha256:" + "0" * 64,
        requests=20,
        concurrency=4,
        maxTokens=8,
        maxLatencyPercent=300,
    )


async def test_each_part_asks_its_models(endpoint: tuple[Endpoint, str]) -> None:
    seen, url = endpoint
    parts = await run(request_to(url, "one", "two"), "a-key")
    assert [(part.name, part.models, part.requests, part.failed) for part in parts] == [
        ("base alone", 1, 20, 0),
        ("one adapter", 1, 20, 0),
        ("all mixed", 2, 20, 0),
    ]
    assert (seen.asked.count("one"), seen.asked.count("two")) == (30, 10)
    assert seen.keys == {"Bearer a-key"}
    assert all(0 < part.p50 <= part.p95 <= part.p99 for part in parts)


async def test_a_broken_adapter_is_counted_and_named(endpoint: tuple[Endpoint, str]) -> None:
    _, url = endpoint
    mixed = (await run(request_to(url, "one", "broken"), None))[-1]
    assert mixed.failed == 10
    assert mixed.first_failure.startswith("broken: status 500")
