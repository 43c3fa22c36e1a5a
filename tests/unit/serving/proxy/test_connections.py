"""The connections on which requests are sent on."""

import asyncio
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from graft_serving.proxy import connections
from graft_serving.proxy.connections import SILENT_SECONDS, upstream_session

pytestmark = pytest.mark.looptime(False)


async def test_a_machine_that_is_gone_is_noticed_while_its_answer_is_waited_for() -> None:
    # Nothing tells that a node has lost its power: only what the kernel asks it meanwhile stays unanswered.
    looked = asyncio.Event()

    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await looked.wait()
        return response

    upstream = web.Application()
    upstream.router.add_post("/", begin)
    async with (
        TestServer(upstream) as server,
        upstream_session() as session,
        session.post(server.make_url("/")) as response,
    ):
        assert response.connection is not None
        assert response.connection.transport is not None
        connection = response.connection.transport.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, probes = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        looked.set()
    assert idle + interval * probes <= SILENT_SECONDS


@pytest.mark.parametrize("host", ["10.0.0.7", "fd00::7", "fe80::7%eth0", "127.0.0.1", "::1"])
def test_only_what_a_machine_elsewhere_does_not_acknowledge_has_a_limit(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = connections.socket_that_notices_silence((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 8002)))
    with made:
        limit = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert limit == (0 if host in ("127.0.0.1", "::1") else 1000 * SILENT_SECONDS)


async def test_an_engine_may_be_too_busy_to_take_a_long_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT_SECONDS", 4)
    size = 4_000_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(1.5 * connections.SILENT_SECONDS)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as engine, upstream_session() as session:
        host, port = engine.sockets[0].getsockname()
        async with session.post(f"http://{host}:{port}/", data=b"x" * size) as response:
            assert response.status == 204
