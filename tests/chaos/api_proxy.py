"""A proxy in front of an API server that lets its clients down: requests, and watches event by event."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

import aiohttp
from aiohttp import web
from tests.chaos.faults import Fault, Faults, Rates
from tests.chaos.forwarding import LARGEST_BODY, Upstream, answered, broken, serving, upstream, without_hops
from tests.control_plane.client import lines_of

READS: Final[Rates] = {
    Fault.DELAY: 0.06,
    Fault.ERROR: 0.03,
    Fault.TOO_MANY: 0.03,
    Fault.RESET: 0.03,
    Fault.HALF_OPEN: 0.003,
}
CONTINUED: Final[Rates] = {**READS, Fault.GONE: 0.05}
"""Watches and later pages of a list, which go on from what was read before."""
WRITES: Final[Rates] = {
    Fault.DELAY: 0.06,
    Fault.ERROR: 0.03,
    Fault.TOO_MANY: 0.03,
    Fault.RESET: 0.02,
    Fault.LOST: 0.03,
    Fault.CUT: 0.03,
    Fault.CONFLICT: 0.03,
    Fault.HALF_OPEN: 0.003,
}
CREATES: Final[Rates] = {fault: rate for fault, rate in WRITES.items() if fault is not Fault.CONFLICT}
EVENTS: Final[Rates] = {
    Fault.DELAY: 0.06,
    Fault.DROP: 0.03,
    Fault.REPEAT: 0.05,
    Fault.REORDER: 0.05,
    Fault.GONE: 0.01,
    Fault.RESET: 0.01,
    Fault.HALF_OPEN: 0.004,
}
STATUSES: Final = {
    Fault.CONFLICT: (409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
    Fault.GONE: (410, "Expired", "The resourceVersion for the provided list is too old."),
    Fault.TOO_MANY: (429, "TooManyRequests", "the server has received too many requests; please try again later"),
    Fault.ERROR: (500, "InternalError", "Internal error occurred: etcdserver: request timed out"),
    Fault.LOST: (500, "InternalError", "Internal error occurred: etcdserver: request timed out"),
}
HELD_SECONDS: Final = 0.3
"""An event that waits for the next one, to come after it, comes by itself after this time."""


class ApiProxy:
    """Stands before one API server, for one client."""

    def __init__(self, behind: Upstream, faults: Faults) -> None:
        self._behind = behind
        self._faults = faults
        self.requests: Counter[str] = Counter()
        """By method; a watch counts as WATCH."""

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, faults: Faults) -> AsyncIterator[tuple[ApiProxy, str]]:
        """Stand before the server at ``url``; yield the proxy and its own URL."""
        async with upstream(url) as behind:
            proxy = cls(behind, faults)
            application = web.Application(client_max_size=LARGEST_BODY)
            application.router.add_route("*", "/{path:.*}", proxy.answer)
            async with serving(application) as own:
                yield proxy, own

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        watches = request.query.get("watch", "").lower() in ("1", "true")
        verb = "WATCH" if watches else request.method
        self.requests[verb] += 1
        key = f"{verb} {request.path}"
        body = await request.read()
        try:
            fault = self._faults.draw(key, rates_of(request))
            if (refused := await self._before_the_server(request, fault, key)) is not None:
                return refused
            if watches:
                return await self._watch(request)
            answer = await self._behind.ask(request, body)
        except aiohttp.ClientError:
            return broken(request)
        if fault is Fault.LOST:
            return refusal(fault)
        return broken(request) if fault is Fault.CUT else answered(request, answer)

    async def _before_the_server(
        self, request: web.Request, fault: Fault | None, key: str
    ) -> web.StreamResponse | None:
        """Return the answer of what never gets to the server; None: it does."""
        match fault:
            case Fault.CONFLICT | Fault.GONE | Fault.TOO_MANY | Fault.ERROR:
                return refusal(fault)
            case Fault.RESET:
                return broken(request)
            case Fault.HALF_OPEN:
                await self._faults.until_over()
                return broken(request)
            case Fault.DELAY:
                await self._faults.delay(key)
        return None

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        async with self._behind.open(request) as upstream_response:
            response = web.StreamResponse(
                status=upstream_response.status, headers=without_hops(upstream_response.headers)
            )
            response.enable_chunked_encoding()
            await response.prepare(request)
            if upstream_response.status != 200:
                await response.write(await upstream_response.read())
                return response
            lines: asyncio.Queue[bytes | None] = asyncio.Queue()
            reading = asyncio.create_task(read_into(lines, upstream_response))
            try:
                with suppress(ConnectionError):
                    await self._pass_on(request, response, lines)
            finally:
                reading.cancel()
            return response

    async def _pass_on(
        self, request: web.Request, response: web.StreamResponse, lines: asyncio.Queue[bytes | None]
    ) -> None:
        """Write the events as the faults let them through, until the stream ends or breaks."""
        held: list[bytes] = []
        key = f"EVENT {request.path}"
        while (line := await next_line(lines, held)) is not None:
            if not line:  # nothing came for which to wait
                await written(response, held)
                continue
            fault = self._faults.draw(key, EVENTS)
            match fault:
                case Fault.DROP:
                    continue
                case Fault.REORDER:
                    held.append(line)
                    continue
                case Fault.GONE:
                    await response.write(expired())
                    return
                case Fault.RESET:
                    broken(request)
                    return
                case Fault.HALF_OPEN:
                    await self._faults.until_over()
                    broken(request)
                    return
                case Fault.DELAY:
                    await self._faults.delay(key)
            await response.write(line * (2 if fault is Fault.REPEAT else 1))
            await written(response, held)
        await written(response, held)


async def read_into(lines: asyncio.Queue[bytes | None], response: aiohttp.ClientResponse) -> None:
    """Put the lines of a stream into a queue, and None at its end."""
    try:
        async with aclosing(lines_of(response.content)) as found:
            async for line in found:
                lines.put_nowait(line + b"\n")
    except aiohttp.ClientError:
        pass
    finally:
        lines.put_nowait(None)


async def next_line(lines: asyncio.Queue[bytes | None], held: list[bytes]) -> bytes | None:
    """Return the next line, None at the end; empty where none comes in time for what is held."""
    try:
        return await asyncio.wait_for(lines.get(), HELD_SECONDS if held else None)
    except TimeoutError:
        return b""


async def written(response: web.StreamResponse, held: list[bytes]) -> None:
    """Write what was held."""
    while held:
        await response.write(held.pop(0))


def rates_of(request: web.Request) -> Rates:
    """Return what may befall a request: no server answers 409 to a read, nor 410 to one that begins anew."""
    if request.method == "POST":
        return CREATES
    if request.method != "GET":
        return WRITES
    return CONTINUED if {"watch", "continue"} & request.query.keys() else READS


def refusal(fault: Fault) -> web.Response:
    """Return the answer of a server that does not do it."""
    code, reason, message = STATUSES[fault]
    headers = {"Retry-After": "1"} if code == 429 else {}
    return web.json_response(status_object(code, reason, message), status=code, headers=headers)


def expired() -> bytes:
    """Return the event that ends a watch whose resourceVersion is too old."""
    code, reason, message = STATUSES[Fault.GONE]
    return json.dumps({"type": "ERROR", "object": status_object(code, reason, message)}).encode() + b"\n"


def status_object(code: int, reason: str, message: str) -> dict[str, object]:
    """Return an error as the API server writes it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
