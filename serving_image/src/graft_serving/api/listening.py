"""Serves applications on ports, and bounds for how long a connection may stay as it is."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiohttp import web

MOST_HEADERS: Final = 128
"""Of a client's request."""
ADDED_HEADERS: Final = 16
"""That a pod may add to those of a request which it sends on."""

IDLE_SECONDS = 75.0
"""After which a client's idle connection is closed; longer than load balancers keep theirs (60 s on AWS). A connection
is idle until the whole header of a request has come: that is how long one may take, from the connection's beginning or
from the answer before."""

LINGERING_SECONDS = 2.0
"""For which the rest of a body that nobody wants is taken and thrown away, so that its client reads the answer."""

UNTAKEN_SECONDS = 600.0
"""After which the kernel ends a connection whose other end takes nothing of what was written, or is gone without a word
(tcp(7), TCP_USER_TIMEOUT). It holds for everything: also for the end of an answer that is here when its request is
over, and for pods, which read for clients that may be slow."""


@contextlib.asynccontextmanager
async def listening(
    host: str | None, *applications: tuple[int, web.Application], shutdown_seconds: float
) -> AsyncIterator[None]:
    """Serve each application on its port; at the end the requests of all of them have so many seconds to finish.

    Raises:
        OSError: a port is taken.
    """
    runners = [(port, _runner(app, shutdown_seconds)) for port, app in applications]
    try:
        for port, runner in runners:
            await runner.setup()
            await _Site(runner, host, port).start()
        yield
    finally:
        await asyncio.gather(*(runner.cleanup() for _, runner in runners))


def _runner(app: web.Application, shutdown_seconds: float) -> web.AppRunner:
    # With handler_cancellation a client that goes away also ends its request upstream. Before aiohttp cuts a request
    # off it waits for its timeout twice: with the request left alone, and with its body cancelled.
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=shutdown_seconds / 2,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        auto_decompress=False,
        max_headers=MOST_HEADERS + ADDED_HEADERS,
    )


class _Site(web.TCPSite):
    """One port."""

    async def start(self) -> None:
        """Listen. What its sockets are told holds for every connection."""
        await super().start()
        sockets: Sequence[socket.socket] = getattr(self._server, "sockets", ())
        for listener in sockets:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNTAKEN_SECONDS))
