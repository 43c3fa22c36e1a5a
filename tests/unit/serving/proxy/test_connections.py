"""The connections on which requests are sent on."""

import asyncio
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

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
        idle, interval, probes, unacknowledged = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
        looked.set()
    assert idle + interval * probes <= SILENT_SECONDS
    assert unacknowledged == 1000 * SILENT_SECONDS
