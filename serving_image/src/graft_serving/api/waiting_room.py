"""Requests for adapters that are loaded on demand wait here, for a while, until they can be answered."""

import time
from collections.abc import Awaitable, Callable

from graft_serving.proxy.routing import Decision, NotLoaded

MOST_WAITING = 128
"""Their bodies are in memory. Beyond it clients are told to come again."""


class WaitingRoom:
    """Bounds how long requests wait, and how many."""

    def __init__(self, seconds: float) -> None:
        """Let each wait for at most so many seconds; with 0 none waits."""
        self._seconds = seconds
        self._waiting = 0

    async def decide(self, decide: Callable[[], Decision], news: Callable[[float], Awaitable[None]]) -> Decision:
        """Decide; while the adapter is not loaded, wait for news and decide again. Return the last decision.

        Args:
            decide: decides by what is known at the moment.
            news: returns when something else may be known, or after so many seconds.
        """
        decision = decide()
        if not isinstance(decision, NotLoaded) or not decision.may_wait or self._waiting >= MOST_WAITING:
            return decision
        deadline = time.monotonic() + self._seconds
        self._waiting += 1
        try:
            while isinstance(decision, NotLoaded) and (left := deadline - time.monotonic()) > 0:
                await news(left)
                decision = decide()
            return decision
        finally:
            self._waiting -= 1
