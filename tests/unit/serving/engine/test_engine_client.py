"""What an engine may answer its agent: an answer, or one of three errors."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from graft_serving.engine.client import EngineClient
from graft_serving.errors import EngineRejectedError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", f"http://{'a' * 300}.example/", "http://[::zz/", ""])
async def test_an_engine_sends_its_agent_nowhere_else(status: int, location: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/elsewhere":
            return web.json_response({"data": [{"id": "another"}]})
        return web.Response(status=status, headers={"Location": location})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        client = EngineClient(session, str(server.make_url("/")), load_timeout=60, generate_timeout=60)
        for call in (client.models, client.metrics, lambda: client.load("support--v1-0123abcd", "/adapters/a")):
            with pytest.raises(EngineRejectedError, match=str(status)):
                await call()
    assert asked == ["/v1/models", "/metrics", "/v1/load_lora_adapter"]
