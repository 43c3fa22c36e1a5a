"""Who was asked for, and when: by that the operator decides which adapters hold the places of those on demand."""

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

PAUSE_SECONDS: Final = 10.0
"""Requests for an adapter that is not loaded are told of when the first one comes, and again after such a pause."""

SHORTEST_SECONDS: Final = 2.0
"""Between two times that anything is told, however many adapters are asked for."""


class Demand:
    """When each adapter was last asked here, loaded or not. For one event loop."""

    def __init__(self, on_missed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        """Begin with nothing; `on_missed` is called when there is something to tell of adapters that are not loaded."""
        self._on_missed = on_missed
        self._clock = clock
        self._started = clock()
        self._asked: dict[str, float] = {}
        self._missed: dict[str, float] = {}
        self._told_at = float("-inf")
        self._telling: asyncio.TimerHandle | None = None
        self.times_told = 0
        """How often there was something to tell."""

    def count(self, adapter: str, *, is_missed: bool) -> None:
        """Take a request into account; `is_missed` if the adapter is to be loaded on demand and is not there."""
        now = self._asked[adapter] = self._clock()
        if not is_missed:
            self._missed.pop(adapter, None)
            return
        before = self._missed.get(adapter)
        self._missed[adapter] = now
        if before is None or now - before >= PAUSE_SECONDS:
            self._tell_soon()

    def keep(self, adapters: Collection[str]) -> None:
        """Forget all other adapters."""
        for known in (self._asked, self._missed):
            for name in known.keys() - set(adapters):
                del known[name]

    def last_asked(self, adapter: str, *, is_loaded: bool, is_busy: bool) -> str | None:
        """When the adapter was last asked, as RFC 3339; None if it has not been.

        A request under way counts as one of this moment. For one that is loaded nobody knows how it was asked before
        the agent's start: that counts as the last time, lest it pass for one that nobody needs.
        """
        known = self._asked.get(adapter, self._started if is_loaded else None)
        last = self._clock() if is_busy else known
        return None if last is None else datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _tell_soon(self) -> None:
        if self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_at(max(loop.time(), self._told_at + SHORTEST_SECONDS), self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._told_at = asyncio.get_running_loop().time()
        self.times_told += 1
        self._on_missed()
