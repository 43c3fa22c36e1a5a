"""A server behind the proxies, and faults of a test's own choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from tests.chaos.faults import Fault, Faults, Rates
from tests.chaos.forwarding import serving


class Chosen(Faults):
    """Faults that come one after the other, as a test says; then there are none."""

    def __init__(self, *faults: Fault | None) -> None:
        super().__init__(0)
        self.befell = asyncio.Event()
        self._next: Iterator[Fault | None] = iter(faults)

    def draw(self, key: str, rates: Rates) -> Fault | None:
        self.befell.set()
        return next(self._next, None)


class Behind:
    """A server that remembers what it was asked, and has a watch of events that a test puts into it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.events: asyncio.Queue[int | None] = asyncio.Queue()
        self.watchers = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, await request.read()))
        if "watch" not in request.query:
            return web.Response(text="a whole answer", headers={"ETag": '"1"'})
        self.watchers += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            while (number := await self.events.get()) is not None:
                await response.write(json.dumps({"type": "ADDED", "object": number}).encode() + b"\n")
        finally:
            self.watchers -= 1
        return response


@pytest.fixture
async def behind() -> AsyncIterator[tuple[Behind, str]]:
    """A running server and its URL."""
    server = Behind()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    async with serving(application) as url:
        yield server, url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that gives up after a minute."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        yield client
