"""Asks at a given rate, whether or not earlier answers have come: a slow server can't slow the questions down."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Measurement:
    """Seconds from a request's last byte to its answer's first and last one, and how many had no such answer."""

    first_byte: list[float] = field(default_factory=list)
    last_byte: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, other: "Measurement") -> None:
        self.first_byte += other.first_byte
        self.last_byte += other.last_byte
        self.failed += other.failed


class Connection(asyncio.Protocol):
    """One keep-alive connection. Knows where an answer ends from its Content-Length, or from its last chunk."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed in the middle of an answer"))

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as some do with one that is idle for seconds."""
        return not self._transport.is_closing()

    async def ask(self, request: bytes, measurement: Measurement) -> None:
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        asked = time.perf_counter()
        self._transport.write(request)
        self._first = 0.0
        last = await self._answer
        if not self._received.startswith(b"HTTP/1.1 200"):
            measurement.failed += 1
            return
        measurement.first_byte.append(self._first - asked)
        measurement.last_byte.append(last - asked)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._first = self._first or now
        self._received += data
        if self._is_whole() and self._answer is not None:
            self._answer.set_result(now)

    def _is_whole(self) -> bool:
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        _, is_there, rest = head.lower().partition(b"content-length:")
        if is_there:
            return len(body) >= int(rest.split(b"\r\n")[0])
        return body.endswith(b"0\r\n\r\n")


class OpenLoop:
    """A client of one server, with as many connections as there are requests under way."""

    def __init__(self, port: int, request: bytes, seed: int = 1) -> None:
        self._port = port
        self._request = request
        self._random = random.Random(seed)
        self._idle: list[Connection] = []

    async def run(self, *, rate: float, seconds: float) -> Measurement:
        """Ask `rate` times a second on average, at times of a Poisson process."""
        measurement = Measurement()
        begun = time.perf_counter()
        due = 0.0
        async with asyncio.TaskGroup() as tasks:
            while due < seconds:
                await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
                tasks.create_task(self._ask(measurement))
                due += self._random.expovariate(rate)
        return measurement

    async def _ask(self, measurement: Measurement) -> None:
        while self._idle and not self._idle[-1].is_open:
            self._idle.pop()
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
            await connection.ask(self._request, measurement)
        except OSError:
            measurement.failed += 1
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        return connection


def completion_request(model: str, *, stream: bool) -> bytes:
    """The bytes of a request with a prompt of 24 tokens."""
    body = (
        f'{{"model":"{model}","prompt":"Write one sentence about a fox and a dog that a typist would know by heart.",'
        f'"max_tokens":16,"temperature":0,"stream":{"true" if stream else "false"}}}'
    ).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nX-Graft-Session: user-1\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
