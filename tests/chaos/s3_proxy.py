"""A proxy in front of an S3 server that lets its clients down, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web
from tests.chaos.faults import Fault, Faults, Rates
from tests.chaos.forwarding import LARGEST_BODY, Upstream, answered, broken, serving, truncated, upstream

RATES: Final[Rates] = {
    Fault.ERROR: 0.06,
    Fault.BUSY: 0.06,
    Fault.DELAY: 0.08,
    Fault.LOST: 0.03,
    Fault.RESET: 0.04,
    Fault.TRUNCATE: 0.04,
    Fault.COMMIT_AND_HANG: 0.01,
    Fault.HALF_OPEN: 0.01,
}
ERRORS: Final = {
    Fault.ERROR: (500, "InternalError", "We encountered an internal error. Please try again."),
    Fault.LOST: (500, "InternalError", "We encountered an internal error. Please try again."),
    Fault.BUSY: (503, "SlowDown", "Please reduce your request rate."),
}


class S3Proxy:
    """Counts every request, and lets befall it what the faults say; without faults it only counts."""

    def __init__(self, behind: Upstream, faults: Faults | None = None) -> None:
        self._behind = behind
        self._faults = faults
        self.requests: Counter[str] = Counter()
        """By method."""

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, faults: Faults | None = None) -> AsyncIterator[tuple[S3Proxy, str]]:
        """Stand before the server at ``url``; yield the proxy and its own URL."""
        async with upstream(url) as behind:
            proxy = cls(behind, faults)
            application = web.Application(client_max_size=LARGEST_BODY)
            application.router.add_route("*", "/{path:.*}", proxy.answer)
            async with serving(application) as own:
                yield proxy, own

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests[request.method] += 1
        body = await request.read()
        key = f"{request.method} {request.path}"
        fault = self._faults.draw(key, RATES) if self._faults else None
        try:
            return await self._befallen(request, body, fault, key)
        except aiohttp.ClientError:
            return broken(request)

    async def _befallen(self, request: web.Request, body: bytes, fault: Fault | None, key: str) -> web.StreamResponse:
        if fault in (Fault.ERROR, Fault.BUSY):
            return refusal(fault)
        if fault is Fault.RESET:
            return broken(request)
        if self._faults is not None and fault is Fault.HALF_OPEN:
            await self._faults.until_over()
            return broken(request)
        if self._faults is not None and fault is Fault.DELAY:
            await self._faults.delay(key)
        answer = await self._behind.ask(request, body)
        if fault is Fault.LOST:
            return refusal(fault)
        if fault is Fault.TRUNCATE and len(answer.body) > 1:
            return await truncated(request, answer)
        if self._faults is not None and fault is Fault.COMMIT_AND_HANG:
            await self._faults.until_over()
            return broken(request)
        return answered(request, answer)


def refusal(fault: Fault) -> web.Response:
    """Return the answer of a server that does not serve."""
    status, code, message = ERRORS[fault]
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, body=text.encode(), content_type="application/xml")
