"""Answers in one piece that are too long to be held, or take long to be read."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.serving.conftest import Pod, eventually
from tests.serving.requests.test_bounds import Endless, client_that_does_not_read, serve

from graft_serving.proxy import relay


@pytest.mark.parametrize("most_held", [relay.MOST_HELD_BYTES, 64 << 20], ids=["passed on", "held"])
async def test_a_client_that_reads_slowly_gets_all_of_its_answer(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, most_held: int
) -> None:
    monkeypatch.setattr(relay, "MOST_HELD_BYTES", most_held)
    monkeypatch.setattr(relay, "UNREAD_SECONDS", 1.0)
    # More than all buffers between the two hold, and more than the kernel asks for again within that time: it takes a
    # piece as soon as a third of its up to four MiB is free.
    seconds, size = 10.0, 10_000_000

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        return web.json_response({"data": "x" * size}) if "kind" in body else None

    pod.engine.instead = answer
    async with pod.agent():
        await serve(pod)
        connection = client_that_does_not_read(pod, "whole")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.setblocking(False)
        received = b""
        while size > len(received):
            part = await asyncio.get_running_loop().sock_recv(connection, size // 100)
            assert part, f"cut off after {len(received)} bytes"
            received += part
            await asyncio.sleep(seconds * len(part) / size)
        connection.close()


@pytest.mark.parametrize("port", ["that of pods", "the Service's"])
async def test_a_pod_that_reads_for_a_slow_client_may_take_nothing_for_long(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setattr(relay, "UNREAD_SECONDS", 0.5)
    endless = pod.engine.instead = Endless()
    async with pod.agent():
        await serve(pod)
        url = pod.peer_url if port == "that of pods" else pod.url
        body = {"model": "support", "prompt": "x", "kind": "stream"}
        async with pod.client.post(f"{url}/v1/completions", json=body, headers=pod.peer_headers()) as answer:
            await endless.until_stuck()
            # Its kernel asks for more when a third of what it holds is free.
            await asyncio.sleep(4 * relay.UNREAD_SECONDS)
            received = await answer.content.read()
    assert received.endswith(b"data: [DONE]\n\n")


class Long:
    """Answers in one piece with more than may be held, and waits, or breaks off, before its end."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.breaks_off = False

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if "long" not in body:
            return None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"model":"' + body["model"].encode() + b'","data":"')
        await response.write(b"x" * (2 * relay.MOST_HELD_BYTES))
        await self.end.wait()
        if self.breaks_off:
            assert request.transport is not None
            request.transport.abort()
        await response.write(b'","usage":{"prompt_tokens":30,"completion_tokens":512}}')
        return response


async def test_an_answer_that_is_too_long_to_be_held_goes_on_as_it_comes(pod: Pod) -> None:
    long = pod.engine.instead = Long()
    async with pod.agent():
        await serve(pod)
        body = {"model": "support", "prompt": "x", "long": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as answer:
            received = await answer.content.readexactly(relay.MOST_HELD_BYTES)
            long.end.set()
            received += await answer.content.read()
        async with pod.client.get(f"{pod.admin_url}/metrics") as metrics:
            counted = await metrics.text()
    whole = json.loads(received)
    assert answer.headers["X-Graft-Version"] == "support@v1"
    assert (whole["model"], len(whole["data"])) == ("support", 2 * relay.MOST_HELD_BYTES)
    assert 'graft_tokens_total{adapter="support",version="v1",kind="prompt"} 30.0' in counted
    assert 'graft_tokens_total{adapter="support",version="v1",kind="completion"} 512.0' in counted


async def test_a_long_answer_that_breaks_off_is_never_taken_for_a_whole_one(pod: Pod) -> None:
    long = pod.engine.instead = Long()
    long.breaks_off = True
    async with pod.agent():
        await serve(pod)
        body = {"model": "support", "prompt": "x", "long": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as answer:
            await answer.content.readexactly(relay.MOST_HELD_BYTES)
            long.end.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()

        async def is_counted() -> bool:
            return bool((await pod.version_state("support", 1))["errors"] == 1)

        await eventually(is_counted)
