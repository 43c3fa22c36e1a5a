"""The pod's own API for probes, the operator and Prometheus; read only."""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from graft_serving.status.documents import AgentState
from graft_serving.status.revision import Revision

LONGEST_WAIT_SECONDS: Final = 60


def admin_application(
    *, state: Callable[[], AgentState], revision: Revision, is_ready: Callable[[], bool], registry: CollectorRegistry
) -> web.Application:
    """The web application with `/healthz`, `/readyz`, `/state` and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready") if is_ready() else web.Response(text="not ready", status=503)

    async def show_state(request: web.Request) -> web.Response:
        if (since := request.query.get("since")) is not None:
            await revision.wait_beyond(since, _wait_seconds(request))
        return web.json_response(text=state().model_dump_json(by_alias=True))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/state", show_state)
    app.router.add_get("/metrics", metrics)
    return app


def _wait_seconds(request: web.Request) -> int:
    text = request.query.get("waitSeconds", "0")
    if not text.isdecimal() or int(text) > LONGEST_WAIT_SECONDS:
        raise web.HTTPBadRequest(text=f"waitSeconds: {text!r} is not a whole number from 0 to {LONGEST_WAIT_SECONDS}")
    return int(text)
