"""`GET /metrics` on the clients' port: what endpoint pickers of Gateways read there to choose a pod."""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from graft_serving.engine.client import EngineClient
from graft_serving.errors import AgentError
from graft_serving.proxy.routing import RoutingTable
from graft_serving.telemetry.engine_series import UnreadableSeriesError, series_for_pickers
from graft_serving.telemetry.pacing import CachedDocument

PATH: Final = "/metrics"


class EngineSignals:
    """The engine's load, under the names that clients know."""

    def __init__(self, engine: EngineClient, table: Callable[[], RoutingTable]) -> None:
        """Ask `engine`; `table` has the names that clients may ask for."""
        self._engine = engine
        self._table = table
        # Pickers ask twenty times a second each, and an engine makes its page anew for everybody who asks.
        self._shared = CachedDocument(self._make)

    async def show(self, _: web.Request) -> web.StreamResponse:
        """Answer a picker. Nothing old is told of an engine that does not answer: pickers ask another pod then."""
        try:
            page = await self._shared.get()
        except (AgentError, UnreadableSeriesError) as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _make(self) -> bytes:
        page = await self._engine.metrics()
        table = self._table()
        return series_for_pickers(page, base=table.base_name, aliases=table.aliases)
