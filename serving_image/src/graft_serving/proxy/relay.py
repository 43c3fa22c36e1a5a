"""Sends one request upstream and its answer back to the client, chunk by chunk as it comes."""

import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from graft_serving.errors import AgentError
from graft_serving.proxy.answers import ModelName, StreamedUsage, usage_in
from graft_serving.telemetry.answered import Answered, Usage

CONNECT_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 2.0
"""Shorter than the five seconds after which vLLM's server closes idle connections: no request meets a closing one."""

SILENT_SECONDS = 20
"""After which a machine that acknowledges nothing is gone. It may calculate for as long as it likes."""

_NOT_PASSED_BACK = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class UpstreamLostError(AgentError):
    """Upstream failed before a byte of its answer reached the client, so somebody else may still answer."""


class DeclinedError(UpstreamLostError):
    """Upstream leaves the request to somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it goes upstream."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    model_name: ModelName | None = None
    """How to rename the model in the answer; None passes the answer on as it is."""
    added_headers: Mapping[str, str]
    """Headers of the answer that the agent adds."""
    lost_model: str | None = None
    """If upstream answers 404 and names this model, it has lost it: the request is right."""
    is_declined: Callable[[aiohttp.ClientResponse], bool] | None = None
    """Tells an answer with which upstream leaves the request to somebody else."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer that went to the client, and what it was like: None if the client went away in the middle."""

    response: web.StreamResponse
    answered: Answered | None


def upstream_session(request_timeout: float) -> aiohttp.ClientSession:
    """A session for proxied requests: unbounded, since the engine queues by itself. Timeout in seconds."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, socket_factory=_socket_that_notices_silence
        ),
        timeout=aiohttp.ClientTimeout(total=request_timeout, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _socket_that_notices_silence(address: aiohttp.AddrInfoType) -> socket.socket:
    """Without it, a client whose request another node had when it lost its power would wait for the whole timeout."""
    family, kind, protocol, *_ = address
    connection = socket.socket(family, kind, protocol)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS // 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    # Keep-alive asks nothing while what was sent is not acknowledged yet.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENT_SECONDS)
    return connection


async def relay(session: aiohttp.ClientSession, request: web.Request, call: Call) -> Relayed:
    """Send the call upstream and its answer to the client of `request`.

    Cancelling it (the client went away) closes the connection upstream, on which the engine stops generating.

    Raises:
        UpstreamLostError: nothing has reached the client.
    """
    for attempts_left in (1, 0):
        try:
            return await _relay_once(session, request, call)
        except (aiohttp.ClientError, TimeoutError) as error:
            if not (attempts_left and _met_a_closing_connection(error)):
                raise UpstreamLostError(str(error) or type(error).__name__) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _met_a_closing_connection(error: Exception) -> bool:
    """Whether an idle connection was closed under the request; a new one tells whether upstream is really gone."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))


async def _relay_once(session: aiohttp.ClientSession, request: web.Request, call: Call) -> Relayed:
    started = time.perf_counter()
    async with session.post(call.url, data=call.body, headers=call.headers, allow_redirects=False) as upstream:
        if upstream.status == 404 and call.lost_model and call.lost_model in await upstream.text():
            raise UpstreamLostError(f"upstream doesn't know {call.lost_model} any more")
        if call.is_declined is not None and call.is_declined(upstream):
            raise DeclinedError(f"upstream can't answer: status {upstream.status}")
        headers = {name: value for name, value in upstream.headers.items() if name.lower() not in _NOT_PASSED_BACK}
        headers.update(call.added_headers)
        if upstream.content_type == "text/event-stream":
            return await _relay_stream(request, upstream, call.model_name, headers, started)
        body = await upstream.read()
        answered = Answered(
            status=upstream.status, seconds=time.perf_counter() - started, usage=usage_in(body) or Usage()
        )
        if call.model_name is not None:
            body = call.model_name.in_whole(body)
        return Relayed(web.Response(body=body, status=upstream.status, headers=headers), answered)


async def _relay_stream(
    request: web.Request,
    upstream: aiohttp.ClientResponse,
    model_name: ModelName | None,
    headers: Mapping[str, str],
    started: float,
) -> Relayed:
    chunks = upstream.content.iter_any()
    # Until the first chunk is here the client gets nothing, so that another replica could still answer.
    first = await anext(chunks, b"")
    first_token_seconds = time.perf_counter() - started
    response = web.StreamResponse(status=upstream.status, headers=headers)
    usage = StreamedUsage()
    complete = True
    try:
        await response.prepare(request)
        async for chunk in _renamed(first, chunks, model_name):
            usage.add(chunk)
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
        client = request.transport
        if client is None or client.is_closing():
            return Relayed(response, None)
        complete = False
        client.abort()
    answered = Answered(
        status=upstream.status,
        seconds=time.perf_counter() - started,
        first_token_seconds=first_token_seconds,
        usage=usage.total,
        complete=complete,
    )
    return Relayed(response, answered)


async def _renamed(first: bytes, others: AsyncIterator[bytes], model_name: ModelName | None) -> AsyncIterator[bytes]:
    if model_name is None:
        yield first
        async for chunk in others:
            yield chunk
        return
    if lines := model_name.in_stream(first):
        yield lines
    async for chunk in others:
        if lines := model_name.in_stream(chunk):
            yield lines
    if rest := model_name.rest_of_stream():
        yield rest
