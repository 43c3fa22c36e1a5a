"""The agents' port on loopback addresses: one per pod, so that a pod's address is all that the operator needs."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import suppress
from typing import Final

from aiohttp import web
from tests.simulator.agent import Agent, HostileAgent

STATE_PORT: Final = 8090
MOST_WAIT_SECONDS: Final = 60.0
DRIP_SECONDS: Final = 0.5
_network = 16 + os.getpid() % 200
"""Two processes on one machine take addresses of different networks, and two servers of one process share the count."""
_hosts = itertools.count(1)


class AgentServer:
    """Serves the agents of all pods; each has an address of 127.0.0.0/8 of its own."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent | HostileAgent] = {}
        self._sites: dict[str, web.TCPSite] = {}
        application = web.Application()
        application.router.add_get("/state", self._state)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        self.requests = 0

    async def start(self) -> None:
        """Get ready to listen."""
        await self._runner.setup()

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()

    async def listen(self, agent: Agent | HostileAgent) -> str:
        """Serve an agent on an address that none has had before, and return it."""
        number = next(_hosts)
        address = f"127.{_network}.{number // 250 % 250}.{1 + number % 250}"
        self._agents[address] = agent
        self._sites[address] = web.TCPSite(self._runner, address, STATE_PORT)
        await self._sites[address].start()
        return address

    async def close(self, address: str) -> None:
        """Have nobody answer there any more."""
        self._agents.pop(address, None)
        if (site := self._sites.pop(address, None)) is not None:
            await site.stop()

    async def _state(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        address = request.transport.get_extra_info("sockname")[0] if request.transport else ""
        agent = self._agents.get(address)
        if agent is None:
            raise web.HTTPServiceUnavailable
        if (since := request.query.get("since")) is not None:
            seconds = min(float(request.query.get("waitSeconds", "0")), MOST_WAIT_SECONDS)
            await agent.wait_for_news(since, seconds)
        body = agent.body()
        if isinstance(agent, HostileAgent) and agent.manner == "drip":
            return await dripped(request, body)
        return web.Response(body=body, content_type="application/json")


async def dripped(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer one byte at a time."""
    response = web.StreamResponse()
    response.content_length = len(body)
    await response.prepare(request)
    with suppress(ConnectionError):  # nobody listens to the end
        for position in range(len(body)):
            await response.write(body[position : position + 1])
            await asyncio.sleep(DRIP_SECONDS)
    return response
