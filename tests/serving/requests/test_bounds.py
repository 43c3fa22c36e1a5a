"""What one client can cost the others: bodies that stall or are heavy, answers that nobody reads, loops of scrapes."""

import asyncio
import contextlib
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.compression_utils import ZLibDecompressor
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_serving.api import listening
from graft_serving.proxy import relay

BODY = json.dumps({"model": "support", "prompt": "hello", "max_tokens": 2}).encode()


async def serve(pod: Pod, **settings: Any) -> None:
    pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
    await pod.until_ready()


async def raw(pod: Pod, head: bytes, body: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; the status and the body of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.settings.api_port)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n" + body)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    headers, _, content = answer.partition(b"\r\n\r\n")
    return int(headers.split()[1]), json.loads(content)


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


@pytest.mark.parametrize("answered_before", [False, True])
async def test_a_header_that_comes_by_drops_has_its_time(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, answered_before: bool
) -> None:
    monkeypatch.setattr(listening, "IDLE_SECONDS", 1.0)
    async with pod.agent():
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.settings.api_port)
        if answered_before:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"ok\n")
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ")

        async def drip() -> None:
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        try:
            # What is still under way when the agent closes makes the end a reset.
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        finally:
            dripping.cancel()
        assert asyncio.get_running_loop().time() - began >= 0.5


BROKEN: dict[str, tuple[bytes, bytes, int, str]] = {
    "a plain body that is said to be gzip": (b"Content-Encoding: gzip\r\n" + length(len(BODY)), BODY, 400, "invalid"),
    "gzip that was cut short": (
        b"Content-Encoding: gzip\r\n" + length(len(gzip.compress(BODY)) // 2),
        gzip.compress(BODY)[: len(gzip.compress(BODY)) // 2],
        400,
        "invalid",
    ),
    "a body that never comes": (length(100), b"", 408, "request_timeout"),
    "a body that stalls": (length(100), b'{"model":', 408, "request_timeout"),
    "a body that is said to be too large": (length(5_000_000_000), b"", 413, "request_too_large"),
    "a body that unfolds into too much": (
        b"Content-Encoding: gzip\r\n" + length(len(gzip.compress(b" " * 20_000_000))),
        gzip.compress(b" " * 20_000_000),
        413,
        "request_too_large",
    ),
    "an encoding that nobody here knows": (b"Content-Encoding: br\r\n" + length(len(BODY)), BODY, 415, "unsupported"),
    "gzip within gzip": (b"Content-Encoding: gzip, gzip\r\n" + length(len(BODY)), BODY, 415, "unsupported"),
    "chunks without an end": (b"Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\n", 408, "request_timeout"),
}


@pytest.mark.parametrize(("head", "body", "status", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_body_that_is_not_what_it_should_be_gets_an_answer_in_time(
    pod: Pod, head: bytes, body: bytes, status: int, code: str
) -> None:
    pod.settings = pod.settings.model_copy(update={"body_seconds": 1.0 if status == 408 else 60.0})
    async with pod.agent():
        await serve(pod)
        answered = await asyncio.wait_for(raw(pod, head, body), 60)
        assert (await pod.ask("support")).status == 200
    assert answered[0] == status
    assert answered[1]["error"]["code"].startswith(code)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/no_such_path"])
async def test_of_a_body_that_nobody_reads_nothing_is_decompressed(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "keys").write_text("sk-right\n")
    pod.settings = pod.settings.model_copy(update={"api_key_file": tmp_path / "keys"})
    unfolded: list[int] = []
    decompress = ZLibDecompressor.decompress_sync

    def counted(self: ZLibDecompressor, data: bytes, max_length: int = 0) -> bytes:
        piece = decompress(self, data, max_length)
        unfolded.append(len(piece))
        return piece

    monkeypatch.setattr(ZLibDecompressor, "decompress_sync", counted)
    async with pod.agent():
        headers = {"Content-Encoding": "gzip"}
        body = gzip.compress(b" " * 10_000_000)
        async with pod.client.post(pod.url + path, data=body, headers=headers) as answer:
            assert answer.status == 401
    # It would be to its end, and all at once: nobody else would have a turn.
    assert unfolded == []


async def test_bodies_take_so_much_memory_together_and_give_it_back(pod: Pod) -> None:
    pod.settings = pod.settings.model_copy(update={"max_bodies_bytes": 10_000})
    large = "x" * 8_000
    async with pod.agent():
        await serve(pod)
        pod.engine.answers.close()
        pod.engine.streams.close()
        first = asyncio.create_task(pod.ask("support", large, max_tokens=1))
        await pod.engine.answers.until_waiting()
        refused = await pod.ask("support", large, max_tokens=1)
        asking = asyncio.create_task(pod.ask("support", max_tokens=1))
        await pod.engine.answers.until_waiting(2)
        pod.engine.answers.open()
        small, _ = await asking, await first
        again = await pod.ask("support", large, max_tokens=1)
        body = {"model": "support", "prompt": large, "max_tokens": 1000, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as streaming:
            await streaming.content.readline()
            beside = await pod.ask("support", large, max_tokens=1)
            assert pod.engine.streams.waiting == 1
    assert (refused.status, refused.body["error"]["code"]) == (503, "too_many_requests")
    assert refused.headers["Retry-After"]
    assert [small.status, again.status, beside.status] == [200, 200, 200]


class Endless:
    """Answers with more than all the buffers between engine and client hold, streamed or in one piece."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.events = 0

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if "kind" not in body:
            return None
        self.begun.set()
        if body["kind"] == "whole":
            return web.json_response({"choices": [{"text": "x" * 30_000_000}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for self.events in range(500):
            await response.write(b'data: {"choices":[{"text":"' + b"x" * 60_000 + b'"}]}\n\n')
        await response.write(b"data: [DONE]\n\n")
        return response

    async def until_stuck(self) -> None:
        """Return once all the buffers are full: the engine gets nothing more away, though everybody has turns."""
        await self.begun.wait()
        seen, looks = -1, 0
        while looks < 30:
            seen, looks = self.events, looks + 1 if self.events == seen else 0
            await asyncio.sleep(0.01)


def client_that_does_not_read(pod: Pod, kind: str, *, port: int = 0, head: bytes = b"") -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port or pod.settings.api_port))
    body = json.dumps({"model": "support", "prompt": "x", "kind": kind}).encode()
    head += length(len(body))
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body)
    return connection


@pytest.mark.parametrize("kind", ["stream", "whole"])
async def test_a_client_that_does_not_read_holds_no_version_for_ever(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(relay, "UNREAD_SECONDS", 0.5)
    endless = pod.engine.instead = Endless()
    async with pod.agent():
        await serve(pod)
        connection = client_that_does_not_read(pod, kind)
        await endless.begun.wait()
        pod.want(wanted_set(pod.base))
        await pod.until_state("support", 1, None)
        connection.close()
    assert pod.engine.adapters == {}


@pytest.mark.parametrize("port", ["api_port", "peer_port"])
async def test_what_is_left_of_an_answer_is_not_held_for_ever(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setattr(listening, "UNTAKEN_SECONDS", 1.0)
    endless = pod.engine.instead = Endless()
    async with pod.agent():
        await serve(pod)
        # One that is no client's is not watched by the agent itself.
        token = "".join(f"{name}: {value}\r\n" for name, value in pod.peer_headers().items()).encode()
        connection = client_that_does_not_read(pod, "stream", port=getattr(pod.settings, port), head=token)
        await endless.begun.wait()

        async def has_ended() -> bool:
            return bool((await pod.version_state("support", 1))["inflight"] == 0)

        await eventually(has_ended)
        connection.close()


async def test_the_slowness_of_a_client_is_not_the_version_s(pod: Pod) -> None:
    endless = pod.engine.instead = Endless()
    async with pod.agent():
        await serve(pod)
        loop, received = asyncio.get_running_loop(), b""
        began = loop.time()
        connection = client_that_does_not_read(pod, "stream")
        await endless.until_stuck()
        # As long as it took to come to this point, however slow the machine, and so half the time or a good part of it.
        slow = max(2.0, loop.time() - began)
        await asyncio.sleep(slow)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        connection.setblocking(False)
        while b"[DONE]" not in received:
            received = received[-100:] + await loop.sock_recv(connection, 1 << 20)
        took = loop.time() - began
        connection.close()

        async def is_counted() -> dict[str, Any] | None:
            version = await pod.version_state("support", 1)
            return version if version["measured"]["requests"] else None

        version = await eventually(is_counted)
    [bucket] = version["measured"]["latency"]
    measured = 2 ** (int(bucket) / 8)
    assert measured < took - slow / 2


async def test_a_request_has_so_much_time_until_its_answer_begins(pod: Pod) -> None:
    pod.settings = pod.settings.model_copy(update={"request_timeout_seconds": 0.5})
    async with pod.agent():
        await serve(pod)
        pod.engine.answers.close()
        answer = await pod.ask("support", max_tokens=5)
        version = await pod.version_state("support", 1)
    assert (answer.status, answer.body["error"]["code"]) == (504, "timed_out")
    assert (version["inflight"], version["errors"]) == (0, 1)


async def test_a_wait_of_thousands_of_digits_is_refused(pod: Pod) -> None:
    async with pod.agent(), pod.client.get(f"{pod.admin_url}/state?since=x&waitSeconds=" + "9" * 5000) as answer:
        assert answer.status == 400
