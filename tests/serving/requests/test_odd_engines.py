"""What an engine may answer that is no answer, or none that means what it seems to."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tests.serving.conftest import Pod
from tests.serving.published import wanted_adapter, wanted_set
from tests.serving.requests.test_bounds import serve

JSON = b"Content-Type: application/json\r\n"


async def test_what_an_engine_can_not_find_for_a_client_is_not_taken_for_a_lost_model(pod: Pod) -> None:
    asked: list[str] = []

    async def miss(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if "previous_response_id" not in body:
            return None
        asked.append(body["model"])
        message = f"Response with id '{body['previous_response_id']}' not found."
        return web.json_response({"error": {"message": message, "code": 404}}, status=404)

    pod.engine.instead = miss
    # The Service of all pods leads to this one.
    pod.settings = pod.settings.model_copy(update={"peer_service_url": pod.url})
    async with pod.agent():
        v1 = pod.publisher.publish("support")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        answers = [
            await pod.ask(model, previous_response_id=f"resp_{name}")
            for model, name in (("support", v1.engine_name), ("tiny", "tiny"))
        ]
    assert [answer.status for answer in answers] == [404, 404]
    assert [answer.headers["X-Graft-Version"] for answer in answers] == ["support@v1", "tiny@base"]
    assert asked == [v1.engine_name, "tiny"]


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 503),
        (b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}", 503),
        (b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: 2\r\nX-Odd: a\x01b\r\nX-Good: c\r\n\r\n{}", 200),
    ],
    ids=["another protocol", "no status", "a header that can't be written"],
)
async def test_an_odd_engine_gives_a_clear_answer(pod: Pod, written: bytes, status: int) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if "odd" not in body:
            return None
        assert request.transport is not None
        request.transport.write(written)
        await asyncio.sleep(0.1)
        request.transport.close()
        return web.Response()

    pod.engine.instead = answer
    async with pod.agent():
        await serve(pod)
        answered = await pod.ask("support", odd=True)
        version = await pod.version_state("support", 1)
    assert answered.status == status
    if status == 200:
        assert (answered.headers["X-Good"], "X-Odd" in answered.headers) == ("c", False)
    else:
        assert answered.body["error"]["code"] == "request_lost"
    assert (version["requests"], version["errors"]) == (1, int(status != 200))
