"""Keeps large documents, about thousands of versions, from delaying the requests on the same event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

SLICE_SECONDS: Final = 0.004
"""How long the event loop may be held without a pause: a stream's next token is late by no more."""
LONGEST_REUSE_SECONDS: Final = 5.0
PART_OF_TIME: Final = 0.1
"""The largest part of the event loop's time that one document may take, however often it is asked for."""


class Slices:
    """Lets the event loop go on to others whenever a slice of time is over."""

    def __init__(self) -> None:
        """Begin the first slice."""
        self._began = time.perf_counter()

    async def pause_if_over(self) -> None:
        """Call between two small pieces of work."""
        if time.perf_counter() - self._began >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()


class CachedDocument:
    """One document that is made once for all who ask at the same time, and then reused for a while.

    It is reused for ten times as long as it took to make, and at most for 5 s. So a small document is practically
    always fresh, and a large one that is asked for in a loop takes a tenth of the time.
    """

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        """Make the document with `make`."""
        self._make = make
        self._making: tuple[Hashable, asyncio.Task[bytes]] | None = None
        self._made: tuple[Hashable, bytes] | None = None
        self._reused_until = float("-inf")

    async def get(self, key: Hashable = None) -> bytes:
        """The document; one that was made under another key is out of date."""
        while self._making is not None:
            key_of_it, task = self._making
            made = await asyncio.shield(task)
            if key_of_it == key:
                return made
        if self._made is not None and self._made[0] == key and time.monotonic() < self._reused_until:
            return self._made[1]
        self._making = key, asyncio.create_task(self._make_once(key))
        return await asyncio.shield(self._making[1])

    async def _make_once(self, key: Hashable) -> bytes:
        began = time.monotonic()
        try:
            made = await self._make()
        finally:
            self._making = None
        now = time.monotonic()
        self._made = key, made
        self._reused_until = now + min((now - began) / PART_OF_TIME, LONGEST_REUSE_SECONDS)
        return made
