"""What both proxies have in common: a request goes on as it came, an answer comes back as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from tests.ports import free_port
from yarl import URL

HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "expect"}
)
LARGEST_BODY: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the server behind."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class Upstream:
    """The server behind a proxy."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, request: web.Request, body: bytes) -> Answer:
        """Send the request on, body and all, and return the whole answer. Raises aiohttp.ClientError."""
        async with self.open(request, body) as response:
            return Answer(response.status, without_hops(response.headers), await response.read())

    @asynccontextmanager
    async def open(self, request: web.Request, body: bytes = b"") -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request on and yield the answer as it begins."""
        # The path as it came: S3 signs it, and a key may hold what a parser would spell otherwise.
        url = URL(self._url + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=without_hops(request.headers), data=body or None, allow_redirects=False
        ) as response:
            yield response


@asynccontextmanager
async def upstream(url: str) -> AsyncIterator[Upstream]:
    """Connect to a server; the certificate of one that speaks TLS is its own affair."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        read_bufsize=2**20,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as session:
        yield Upstream(url, session)


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Serve on a loopback port until the block ends; yield the URL."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def without_hops(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that are for the other end."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


def answered(request: web.Request, answer: Answer) -> web.Response:
    """Return the answer as it is for the client: one to HEAD keeps the length of what it has not."""
    headers = answer.headers.copy()
    if request.method != "HEAD":
        headers.popall("Content-Length", None)
    return web.Response(status=answer.status, headers=headers, body=answer.body or None)


def broken(request: web.Request) -> web.Response:
    """Break the connection, with a reset where the kernel sends one. What is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def truncated(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Begin the answer, and break the connection half-way."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    broken(request)
    return response
