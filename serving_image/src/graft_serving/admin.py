"""The pod's own API for probes, the operator and Prometheus; read only."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from graft_serving.documents import AgentState


def admin_application(
    *, state: Callable[[], AgentState], is_ready: Callable[[], bool], registry: CollectorRegistry
) -> web.Application:
    """The web application with `/healthz`, `/readyz`, `/state` and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready") if is_ready() else web.Response(text="not ready", status=503)

    async def show_state(_: web.Request) -> web.Response:
        return web.json_response(text=state().model_dump_json(by_alias=True))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/state", show_state)
    app.router.add_get("/metrics", metrics)
    return app
