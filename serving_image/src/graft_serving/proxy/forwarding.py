"""Requests that others answer: another pod of the base, or the Service of another revision."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

import aiohttp
from aiohttp import web

from graft_serving.proxy.relay import Call, DeclinedError, UpstreamLostError, relay
from graft_serving.proxy.routing import Peer
from graft_serving.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

FORWARDED_HEADER = "X-Graft-Forwarded"
POD_HEADER = "X-Graft-Pod"
"""The pod that a peer means to ask: an address may be another pod's by now, which holds other adapters of that name."""
VERSION_HEADER = "X-Graft-Version"
NO_VERSION = "none"
"""The version that answers name which came from no version: errors of the agent, and the list of models."""
PATIENCE_SECONDS = 5.0
"""How long a Service may have nobody behind it. Each node learns by itself, and some time after the operator, that its
pods are ready; until then it refuses connections."""
OTHER_POD_SECONDS = 3.0
"""How long to look for another pod behind a Service, when one answers that it is not able to. While a pod's engine is
down, its own Service goes on choosing it until the kubelet has seen that it is not ready."""
_PAUSE_SECONDS: Final = 0.2
_FIRST_PAUSE_BEFORE_OTHER_POD: Final = 0.05
"""Each further one is twice as long: where no pod is able, all that look for one must not keep the agents busy."""
_NOBODY_WAS_REACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_NOT_FORWARDED = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        POD_HEADER.lower(),
    }
)


class Forwarder:
    """Sends requests on as they came, and their answers back as they come."""

    def __init__(self, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        """Send through `session`, and count in `metrics`."""
        self._session = session
        self._metrics = metrics

    async def to_peer(self, request: web.Request, body: bytes, peer: Peer) -> web.StreamResponse | None:
        """Let another pod of the base answer; None if it can't, and nothing has reached the client."""
        call = Call(
            url=peer.url + upstream_path(request),
            body=body,
            headers={**_headers(request), POD_HEADER: peer.name},
            added_headers={},
            is_declined=_is_declined,
        )
        try:
            return await self._relay(request, call)
        except UpstreamLostError as error:
            logger.info("peer %s at %s can't answer: %s", peer.name, peer.url, error)
            return None

    async def to_service(self, request: web.Request, body: bytes, url: str) -> web.StreamResponse:
        """Let any pod behind a Service answer that is able to; while there is none, wait for one.

        Raises:
            UpstreamLostError: none does, and nothing has reached the client.
        """
        # A Service chooses a pod for each connection: one that is kept would lead to the same pod again.
        headers = {**_headers(request), FORWARDED_HEADER: "1", "Connection": "close"}
        url += upstream_path(request)
        call = Call(url=url, body=body, headers=headers, added_headers={}, is_declined=_is_unable)
        deadline, pause = time.monotonic() + OTHER_POD_SECONDS, _FIRST_PAUSE_BEFORE_OTHER_POD
        while time.monotonic() < deadline:
            try:
                return await self._relay(request, call, patience=PATIENCE_SECONDS)
            except DeclinedError:
                await asyncio.sleep(pause)
                pause *= 2
        return await self._relay(request, replace(call, is_declined=None), patience=PATIENCE_SECONDS)

    async def _relay(self, request: web.Request, call: Call, *, patience: float = 0.0) -> web.StreamResponse:
        deadline = time.monotonic() + patience
        while True:
            try:
                relayed = await relay(self._session, request, call)
            except UpstreamLostError as error:
                # Only what was never sent may be sent again.
                if not isinstance(error.__cause__, _NOBODY_WAS_REACHED) or time.monotonic() >= deadline:
                    self._metrics.forwarded("failed")
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._metrics.forwarded("answered")
                return relayed.response


def upstream_path(request: web.Request) -> str:
    """The path of the matched route, never the client's own spelling of it."""
    resource = request.match_info.route.resource
    assert resource is not None
    return resource.canonical


def _headers(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}


def _is_declined(answer: aiohttp.ClientResponse) -> bool:
    """Whether a peer leaves the request to others: it lacks the model or its engine, or is not the pod that was meant.

    An answer that names no version, not even none, is not an agent's at all.
    """
    version = answer.headers.get(VERSION_HEADER)
    return version is None or (version == NO_VERSION and answer.status in (404, 421, 503))


def _is_unable(answer: aiohttp.ClientResponse) -> bool:
    """Whether a pod behind a Service has lost its engine, or has not loaded the model yet."""
    return answer.status == 503 and answer.headers.get(VERSION_HEADER) == NO_VERSION
