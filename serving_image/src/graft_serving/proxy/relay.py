"""Sends one request upstream, once, and its answer back to the client, chunk by chunk as it comes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web

from graft_serving.proxy.answers import LongAnswer, ModelName, StreamedAnswer, is_dying, lacks_model, usage_in
from graft_serving.proxy.attempts import Outcome
from graft_serving.proxy.connections import bytes_not_taken
from graft_serving.telemetry.answered import Answered, Usage

UNREAD_SECONDS = 30.0
"""How long a client may take nothing of an answer before its connection is cut, or half as long again."""
MOST_HELD_BYTES = 1024 * 1024
"""Of an answer in one piece: as much is here before its client gets anything, so that another pod could answer yet. The
rest of a longer one goes on as it comes. Log probabilities of a long prompt, or a batch of embeddings, have hundreds of
MiB, and each would be in memory several times."""

_NOBODY_WAS_REACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
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
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(slots=True, kw_only=True)
class Call:
    """One request as it goes upstream, once: its body is let go of then."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    """Upper bound of all of it, the client's reading included."""
    must_be_read: bool = True
    """Whether to cut off who takes nothing of the answer. A pod that reads for a client does so itself, and takes
    nothing meanwhile where the client is slow: its kernel holds MiB for it."""
    model_name: ModelName | None = None
    """How to rename the model in the answer; None passes the answer on as it is."""
    added_headers: Mapping[str, str]
    """Headers of the answer that the agent adds."""
    engine_model: str | None = None
    """The model, where an engine is asked: its answers are counted and judged. None asks another agent."""
    kept_back: Callable[[int, Mapping[str, str]], Outcome | None]
    """Tells by status and headers an answer that the client must not see: somebody else may answer yet."""
    on_first_byte: Callable[[], None]
    """Called when the client is about to get something."""
    on_sign_of_life: Callable[[], None]
    """Called at each part of an answer that shows whoever was asked to be at work."""

    def take_body(self) -> bytes:
        """The body, which nobody has any more then."""
        body, self.body = self.body, b""
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """How it went. The response is there if anything has reached the client."""

    outcome: Outcome
    response: web.StreamResponse | None = None
    answered: Answered | None = None
    """What the answer was like; None if nothing came, or if the client went away or did not read."""
    is_dying: bool = False
    """Whether the engine has said that its core is gone."""
    detail: str = ""

    @property
    def broke_off(self) -> bool:
        """Whether the answer ended in the midst, and not by the client's doing."""
        return self.answered is not None and not self.answered.complete

    @property
    def has_failed(self) -> bool:
        """Whether whoever was asked failed; nobody has where the client went away, or where others were to answer."""
        if self.outcome is Outcome.ANSWERED:
            return self.answered is not None and self.answered.failed
        return self.outcome is not Outcome.DECLINED


async def relay(session: aiohttp.ClientSession, request: web.Request, call: Call) -> Relayed:
    """Send the call upstream, once, and its answer to the client of `request`.

    Cancelling it (the client went away) closes the connection upstream, on which the engine stops generating.
    """
    return await _Exchange(request, call).run(session)


class _Exchange:
    """One call and its answer."""

    def __init__(self, request: web.Request, call: Call) -> None:
        self._request = request
        self._call = call
        self._started = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(call.seconds)
        self._response: web.StreamResponse | None = None
        self._parts: StreamedAnswer | LongAnswer | None = None
        self._first_token_seconds: float | None = None
        self._status = 0
        self._writing_since: float | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._last_seen: tuple[float, int] | None = None
        self._looks_in_vain = 0
        self._seconds_unread = 0.0

    async def run(self, session: aiohttp.ClientSession) -> Relayed:
        call = self._call
        if call.must_be_read:
            self._next_look = self._loop.call_later(UNREAD_SECONDS / 2, self._look_at_client)
        try:
            async with (
                self._limit,
                session.post(call.url, data=call.take_body(), headers=call.headers, allow_redirects=False) as upstream,
            ):
                self._status = upstream.status
                return await self._pass_on(upstream)
        except _NOBODY_WAS_REACHED as error:
            return Relayed(outcome=Outcome.UNREACHABLE, detail=str(error))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._broken_off(error)
        finally:
            if self._next_look is not None:
                self._next_look.cancel()

    def _look_at_client(self) -> None:
        """End the exchange if the client has taken nothing for too long. A limit for each write would cost more.

        Two looks in vain, not the clock, decide: what held up the whole process held up its clients as well.
        """
        seen = None if self._writing_since is None else (self._writing_since, bytes_not_taken(self._request.transport))
        self._looks_in_vain = self._looks_in_vain + 1 if seen is not None and seen == self._last_seen else 0
        self._last_seen = seen
        if self._looks_in_vain == 2:
            self._limit.reschedule(self._loop.time())
        else:
            self._next_look = self._loop.call_later(UNREAD_SECONDS / 2, self._look_at_client)

    async def _pass_on(self, upstream: aiohttp.ClientResponse) -> Relayed:
        call = self._call
        if upstream.status < 200:
            # The beginning of another protocol, or nothing that is known: no answer comes after it.
            return Relayed(outcome=Outcome.LOST, detail=f"status {upstream.status}")
        if (outcome := call.kept_back(upstream.status, upstream.headers)) is not None:
            return Relayed(outcome=outcome, detail=f"status {upstream.status}")
        headers = {name: value for name, value in upstream.headers.items() if _is_passed_back(name, value)}
        headers.update(call.added_headers)
        if upstream.content_type == "text/event-stream":
            return await self._pass_stream_on(upstream, headers)
        return await self._pass_whole_on(upstream, headers)

    async def _pass_whole_on(self, upstream: aiohttp.ClientResponse, headers: Mapping[str, str]) -> Relayed:
        model = self._call.engine_model
        parts = upstream.content.iter_any()
        body, has_ended = await _gathered(parts)
        if model is not None and upstream.status == 404 and lacks_model(body, model):
            return Relayed(outcome=Outcome.DECLINED, detail=f"the engine doesn't know {model} any more")
        if model is not None and upstream.status >= 500 and is_dying(body):
            return Relayed(outcome=Outcome.DIED, is_dying=True, detail=body[:200].decode("utf-8", "replace"))
        if not has_ended:
            return await self._pass_long_on(body, parts, headers)
        answered = Answered(status=upstream.status, seconds=self._seconds, usage=usage_in(body) or Usage())
        if not answered.failed:
            self._call.on_sign_of_life()
        if self._call.model_name is not None:
            body = self._call.model_name.put_into(body)
        response = self._response = web.StreamResponse(status=upstream.status, headers=headers)
        response.content_length = len(body)
        self._call.on_first_byte()
        await response.prepare(self._request)
        # Here, not by the server later: an answer that nobody reads must end, and counts as under way until then.
        await self._write(response, body, ends=True)
        return Relayed(outcome=Outcome.ANSWERED, response=response, answered=answered)

    async def _pass_long_on(self, part: bytes, parts: AsyncIterator[bytes], headers: Mapping[str, str]) -> Relayed:
        response = self._response = web.StreamResponse(status=self._status, headers=headers)
        answer = self._parts = LongAnswer(self._call.model_name)
        self._call.on_first_byte()
        await response.prepare(self._request)
        while part:
            if self._status < 500:
                self._call.on_sign_of_life()
            if ready := answer.add(part):
                await self._write(response, ready)
            part = await anext(parts, b"")
        answered = self._answered(complete=True, seconds=self._seconds)
        await self._write(response, answer.rest(), ends=True)
        return Relayed(outcome=Outcome.ANSWERED, response=response, answered=answered)

    async def _pass_stream_on(self, upstream: aiohttp.ClientResponse, headers: Mapping[str, str]) -> Relayed:
        chunks = upstream.content.iter_any()
        # Until the first chunk is here the client gets nothing, so that another pod could still answer.
        chunk = await anext(chunks, b"")
        self._first_token_seconds = self._seconds
        response = self._response = web.StreamResponse(status=upstream.status, headers=headers)
        stream = self._parts = None if self._call.engine_model is None else StreamedAnswer(self._call.model_name)
        self._call.on_first_byte()
        await response.prepare(self._request)
        while chunk:
            self._call.on_sign_of_life()
            if lines := chunk if stream is None else stream.add(chunk):
                await self._write(response, lines)
            chunk = await anext(chunks, b"")
        answered_in = self._seconds
        await self._write(response, b"" if stream is None else stream.rest(), ends=True)
        return Relayed(
            outcome=Outcome.ANSWERED,
            response=response,
            answered=self._answered(complete=stream is None or stream.complete, seconds=answered_in),
            is_dying=stream is not None and stream.is_dying,
        )

    async def _write(self, response: web.StreamResponse, data: bytes, *, ends: bool = False) -> None:
        self._writing_since = began = self._loop.time()
        if data:
            await response.write(data)
        if ends:
            # It waits for the client as well, until what was written before is on its way.
            await response.write_eof()
        self._writing_since = None
        self._seconds_unread += self._loop.time() - began

    @property
    def _seconds(self) -> float:
        """Since the beginning, but for the times in which the client did not read."""
        return time.perf_counter() - self._started - self._seconds_unread

    def _answered(self, *, complete: bool, seconds: float) -> Answered:
        return Answered(
            status=self._status,
            seconds=seconds,
            first_token_seconds=self._first_token_seconds,
            usage=self._parts.usage if self._parts is not None else Usage(),
            complete=complete,
        )

    def _broken_off(self, error: Exception) -> Relayed:
        detail = str(error) or type(error).__name__
        if self._response is None:
            outcome = Outcome.TIMED_OUT if isinstance(error, TimeoutError) else Outcome.LOST
            return Relayed(outcome=outcome, detail=detail)
        client = self._request.transport
        client_is_gone = client is None or client.is_closing()
        if client is not None:
            # Else it would take the part for the whole.
            client.abort()
        answered = (
            None
            if client_is_gone or self._writing_since is not None
            else self._answered(complete=False, seconds=self._seconds)
        )
        return Relayed(outcome=Outcome.ANSWERED, response=self._response, answered=answered, detail=detail)


def _is_passed_back(name: str, value: str) -> bool:
    """Whether the client gets this header; what is read leniently may hold what must not be written."""
    return name.lower() not in _NOT_PASSED_BACK and _CONTROL.search(value) is None


async def _gathered(parts: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """What may be held of an answer, and whether that is all of it."""
    held, size = list[bytes](), 0
    async for part in parts:
        held.append(part)
        size += len(part)
        if size > MOST_HELD_BYTES:
            return b"".join(held), False
    return b"".join(held), True
