"""Reads the bodies of requests, and bounds their size, their time, and the memory of all of them together."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from graft_serving.api.unfolding import ENCODINGS, Unfolding
from graft_serving.telemetry.pacing import Slices


class IntakeError(Exception):
    """The body is not taken in; carries the answer's status, its code and its message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Take what the client is told."""
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True)
class Reservation:
    """The memory that one body takes of the intake's bound."""

    intake: "Intake"
    size: int

    def release(self) -> None:
        """Give the memory back; a second call changes nothing."""
        self.intake.bytes_held -= self.size
        self.size = 0


class Intake:
    """The bodies of all requests of a pod that are on their way to an engine."""

    def __init__(self, *, most_bytes: int, seconds: float, most_bytes_at_once: int) -> None:
        """Take bodies of up to `most_bytes`, each within so many seconds, and all of them within so many bytes."""
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._most_bytes_at_once = most_bytes_at_once
        self.bytes_held = 0

    async def read(self, request: web.Request) -> tuple[bytes, Reservation]:
        """The whole body, decompressed, and the room that it takes until somebody gives it back.

        The server must leave it compressed (`auto_decompress`): else what nobody reads is decompressed as well, to its
        end and in one go, before a key is asked for.

        Raises:
            IntakeError: it is too large, comes too slowly, is not what its headers say, or there is no room for it now.
        """
        reservation = Reservation(self, 0)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(request, reservation)
        except TimeoutError:
            reservation.release()
            raise IntakeError(
                408, "request_timeout", f"The request body did not arrive within {self._seconds:g} seconds."
            ) from None
        except (web.RequestPayloadError, HttpProcessingError, ValueError) as error:
            reservation.release()
            raise IntakeError(400, "invalid_body", f"The request body is not as its headers say: {error}") from error
        except BaseException:
            reservation.release()
            raise
        return body, reservation

    async def _read(self, request: web.Request, reservation: Reservation) -> bytes:
        self._refuse_if_large(request.content_length or 0)
        parts: list[bytes] = []
        async for part in self._parts_of(request):
            self._refuse_if_large(reservation.size + len(part))
            if self.bytes_held + len(part) > self._most_bytes_at_once:
                raise IntakeError(
                    503, "too_many_requests", "The requests under way take all the room there is; retry in 2 seconds."
                )
            reservation.size += len(part)
            self.bytes_held += len(part)
            parts.append(part)
        return b"".join(parts)

    async def _parts_of(self, request: web.Request) -> AsyncIterator[bytes]:
        encoding = _encoding_of(request)
        if encoding is None:
            while part := await request.content.readany():
                yield part
            return
        unfolding, slices, size = Unfolding(encoding), Slices(), 0
        while part := await request.content.readany():
            # What unfolds into nothing takes its time, too.
            size += len(part)
            self._refuse_if_large(size)
            for piece in unfolding.pieces_of(part):
                yield piece
                await slices.pause_if_over()
        yield unfolding.end()

    def _refuse_if_large(self, size: int) -> None:
        if size > self._most_bytes:
            raise IntakeError(
                413, "request_too_large", f"The request body has more than {self._most_bytes} bytes; send less."
            )


def _encoding_of(request: web.Request) -> str | None:
    """How the body is compressed; None if it isn't."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower().removeprefix("x-")
    if encoding in ("", "identity"):
        return None
    if encoding not in ENCODINGS:
        known = " or ".join(ENCODINGS)
        raise IntakeError(415, "unsupported_encoding", f"Send the body as it is, or with Content-Encoding {known}.")
    return encoding
