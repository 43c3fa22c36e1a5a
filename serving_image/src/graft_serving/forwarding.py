"""Requests that others answer: another pod of the base, or the Service of another revision."""

import logging

import aiohttp
from aiohttp import web

from graft_serving.metrics import Metrics
from graft_serving.relay import Call, UpstreamLostError, relay
from graft_serving.routing import Peer

logger = logging.getLogger(__name__)

FORWARDED_HEADER = "X-Graft-Forwarded"
POD_HEADER = "X-Graft-Pod"
"""The pod that a peer means to ask: an address may be another pod's by now, which holds other adapters of that name."""
VERSION_HEADER = "X-Graft-Version"
NO_VERSION = "none"
"""The version that answers name which came from no version: errors of the agent, and the list of models."""
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
        """Let any pod behind a Service answer.

        Raises:
            UpstreamLostError: none does, and nothing has reached the client.
        """
        headers = {**_headers(request), FORWARDED_HEADER: "1"}
        return await self._relay(
            request, Call(url=url + upstream_path(request), body=body, headers=headers, added_headers={})
        )

    async def _relay(self, request: web.Request, call: Call) -> web.StreamResponse:
        try:
            relayed = await relay(self._session, request, call)
        except UpstreamLostError:
            self._metrics.forwarded("failed")
            raise
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
