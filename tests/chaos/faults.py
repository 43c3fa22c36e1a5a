"""What befalls a request, drawn by a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What may befall a request, or an event of a watch."""

    DELAY = "delay"
    """It comes late."""
    CONFLICT = "conflict"
    """409, and nothing is done. Only for writes of what is there: no server says that something exists that doesn't."""
    GONE = "gone"
    """410: what was read is too old to go on from."""
    TOO_MANY = "too many"
    """429 with Retry-After, and nothing is done."""
    ERROR = "error"
    """500, and nothing is done."""
    BUSY = "busy"
    """503, and nothing is done."""
    LOST = "lost"
    """It is done, and 500 is the answer."""
    RESET = "reset"
    """The connection breaks before anything is done."""
    CUT = "cut"
    """It is done, and the connection breaks before the answer."""
    HALF_OPEN = "half open"
    """Nothing is done, nothing comes, and the connection stays."""
    COMMIT_AND_HANG = "commit and hang"
    """It is done, nothing comes, and the connection stays."""
    TRUNCATE = "truncate"
    """The connection breaks in the middle of the answer."""
    DROP = "drop"
    """An event never comes."""
    REPEAT = "repeat"
    """An event comes twice."""
    REORDER = "reorder"
    """An event comes after the next one."""


Rates = Mapping[Fault, float]
"""Fault → how likely it befalls one request; together at most 1."""

LONGEST_DELAY_SECONDS = 0.8


class Faults:
    """The faults of one proxy. For one event loop."""

    def __init__(self, seed: int | str, only: frozenset[Fault] = frozenset(Fault)) -> None:
        self._seed = seed
        self._only = only
        self._counts: Counter[str] = Counter()
        self._over = asyncio.Event()
        self.happened: Counter[Fault] = Counter()

    def draw(self, key: str, rates: Rates) -> Fault | None:
        """Return what befalls the next request of a kind, which ``key`` names; None: nothing does."""
        self._counts[key] += 1
        if self._over.is_set():
            return None
        fault = next(self._chosen(self._random(key).random(), rates), None)
        if fault is not None:
            self.happened[fault] += 1
        return fault

    async def delay(self, key: str) -> None:
        """Wait as long as the seed says, or until the faults are over."""
        await self.until_over(LONGEST_DELAY_SECONDS * self._random(f"delay {key}").random())

    async def until_over(self, seconds: float | None = None) -> None:
        """Return when the faults are over, or after ``seconds``."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return

    @property
    def are_over(self) -> bool:
        return self._over.is_set()

    def end(self) -> None:
        """Let everything be well from now on; what hangs breaks."""
        self._over.set()

    def _random(self, key: str) -> Random:
        return Random(f"{self._seed}:{key}:{self._counts[key]}")

    def _chosen(self, roll: float, rates: Rates) -> Iterator[Fault]:
        for fault, rate in rates.items():
            if roll < rate and fault in self._only:
                yield fault
            roll -= rate
            if roll < 0:
                return
