"""Health of the process and the HTTP server that tells it: /healthz, /readyz, /metrics."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)

MetricsPage = Callable[[], Awaitable[Sequence[bytes | bytearray]]]

HEARTBEAT_SECONDS = 1.0
MAX_LAG_SECONDS = 10.0
"""A loop that lags this much misses lease renewals and watch deadlines: a restart is the better service."""


@dataclass(slots=True)
class _Watched:
    """A loop that is expected to show that it goes on."""

    max_silence: float
    has_work: Callable[[], bool] | None
    beat_at: float


@dataclass(slots=True)
class Health:
    """What the probes answer from. Loops report with `beat`; the times are those of `clock`, monotonic seconds."""

    clock: Callable[[], float]
    ready: bool = False
    """Whether start-up is over and shutdown has not begun. A standby without the lease is ready, too."""
    lag_seconds: float = 0.0
    _watched: dict[str, _Watched] = field(default_factory=dict)

    def watch(
        self, loop_name: str, *, max_silence: float, has_work: Callable[[], bool] | None = None
    ) -> Callable[[], None]:
        """Expect a beat from the named loop every `max_silence` seconds from now on. Returns its beat function.

        A loop that beats only when it does something, such as a worker, gives `has_work`: while that says no, silence
        is all right. A loop that waits for others, such as a watch, should beat whenever it tries, failed or not: that
        the API server is away is no reason for a restart.
        """
        watched = self._watched[loop_name] = _Watched(max_silence, has_work, self.clock())

        def beat() -> None:
            watched.beat_at = self.clock()

        return beat

    def forget(self, loop_name: str) -> None:
        """Expect nothing of the named loop any more, because it has ended."""
        self._watched.pop(loop_name, None)

    def complaints(self) -> list[str]:
        """Return the reasons why the process should be restarted; empty if it is alive."""
        now = self.clock()
        for watched in self._watched.values():
            if watched.has_work is not None and not watched.has_work():
                watched.beat_at = now
        stale = [
            f"{name} was silent for {now - watched.beat_at:.0f} s (limit {watched.max_silence:.0f} s)"
            for name, watched in self._watched.items()
            if now - watched.beat_at > watched.max_silence
        ]
        if self.lag_seconds > MAX_LAG_SECONDS:
            stale.append(f"event loop lags {self.lag_seconds:.1f} s (limit {MAX_LAG_SECONDS:.0f} s)")
        return stale


async def heartbeat_forever(health: Health) -> None:
    """Beat once a second and measure how late the loop runs its callbacks, which shows a blocking call."""
    beat = health.watch("heartbeat", max_silence=30.0)
    while True:
        expected = health.clock() + HEARTBEAT_SECONDS
        await asyncio.sleep(HEARTBEAT_SECONDS)
        health.lag_seconds = max(0.0, health.clock() - expected)
        metrics.LOOP_LAG_SECONDS.set(health.lag_seconds)
        beat()


@asynccontextmanager
async def probe_server(
    health: Health, *, port: int, host: str | None = None, more_metrics: MetricsPage | None = None
) -> AsyncIterator[int]:
    """Serve the probes while the context is open. Yields the bound port (`port` may be 0).

    `more_metrics` makes further parts of /metrics, in Prometheus' text format.
    """
    runner = web.AppRunner(_application(health, more_metrics), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound_port: int = runner.addresses[0][1]
        log.info("probes are served", extra={"port": bound_port})
        yield bound_port
    finally:
        await runner.cleanup()


def _application(health: Health, more_metrics: MetricsPage | None) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        complaints = health.complaints()
        return web.Response(text="\n".join(complaints) or "ok", status=503 if complaints else 200)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok" if health.ready else "not ready", status=200 if health.ready else 503)

    async def metrics_page(request: web.Request) -> web.StreamResponse:
        parts = [generate_latest(metrics.REGISTRY), *(await more_metrics() if more_metrics is not None else ())]
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
        await response.prepare(request)
        for part in parts:  # of many adapters each has megabytes, which need not be put together
            await response.write(part)
        await response.write_eof()
        return response

    async def close_connection(_: web.Request, response: web.StreamResponse) -> None:
        # A kept-alive connection is a task that the event source would wait for at shutdown.
        response.force_close()

    application = web.Application()
    application.on_response_prepare.append(close_connection)
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics_page)
    return application
