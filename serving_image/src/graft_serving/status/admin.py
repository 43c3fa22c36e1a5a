"""The pod's own API for probes, the operator and Prometheus; read only."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from graft_serving.status.revision import Revision
from graft_serving.telemetry.pacing import CachedDocument

LONGEST_WAIT_SECONDS: Final = 60


def admin_application(
    *,
    state: Callable[[], Awaitable[bytes]],
    revision: Revision,
    is_ready: Callable[[], bool],
    metrics: Callable[[], Awaitable[bytes]],
) -> web.Application:
    """The web application with `/healthz`, `/readyz`, `/state` and `/metrics`; the last two are made by functions."""
    shared_state, shared_metrics = CachedDocument(state), CachedDocument(metrics)

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready") if is_ready() else web.Response(text="not ready", status=503)

    async def show_state(request: web.Request) -> web.Response:
        if (since := request.query.get("since")) is not None:
            await revision.wait_beyond(since, _wait_seconds(request))
        return web.Response(body=await shared_state.get(revision.name), content_type="application/json")

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=await shared_metrics.get(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/state", show_state)
    app.router.add_get("/metrics", show_metrics)
    return app


def _wait_seconds(request: web.Request) -> int:
    text = request.query.get("waitSeconds", "0")
    # Python turns no text of thousands of digits into a number.
    if not text.isdecimal() or len(text) > len(str(LONGEST_WAIT_SECONDS)) or int(text) > LONGEST_WAIT_SECONDS:
        raise web.HTTPBadRequest(
            text=f"waitSeconds: {text[:20]!r} is not a whole number from 0 to {LONGEST_WAIT_SECONDS}"
        )
    return int(text)
