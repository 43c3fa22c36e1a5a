"""Requests that others answer: another pod of the base, or the Service of another revision."""

import logging

import aiohttp
from aiohttp import web

from graft_serving.metrics import Metrics
from graft_serving.relay import Call, UpstreamLostError, relay

logger = logging.getLogger(__name__)

FORWARDED_HEADER = "X-Graft-Forwarded"
VERSION_HEADER = "X-Graft-Version"
NO_VERSION = "none"
"""The version that answers name which came from no version: errors of the agent, and the list of models."""
_NOT_FORWARDED = frozenset(
    {"connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "te", "transfer-encoding"}
)


class Forwarder:
    """Sends requests on as they came, and their answers back as they come."""

    def __init__(self, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        """Send through `session`, and count in `metrics`."""
        self._session = session
        self._metrics = metrics

    async def to_peer(self, request: web.Request, body: bytes, url: str) -> web.StreamResponse | None:
        """Let another pod of the base answer; None if it can't, and nothing has reached the client."""
        call = Call(
            url=url + upstream_path(request),
            body=body,
            headers=_headers(request),
            added_headers={},
            is_declined=_is_declined,
        )
        try:
            return await self._relay(request, call)
        except UpstreamLostError as error:
            logger.info("peer %s can't answer: %s", url, error)
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
    """Whether a peer's agent says that it doesn't hold the model, or can't reach its engine: others still may."""
    return answer.status in (404, 503) and answer.headers.get(VERSION_HEADER) == NO_VERSION
