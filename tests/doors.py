"""What a test holds for as long as it looks at something, where seconds would be a guess about the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Door:
    """Lets everybody through at once, until a test closes it: whoever comes then waits until it opens it again."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._news = asyncio.Event()
        self.comers = 0
        """Who ever came, waiting or not."""
        self.waiting = 0

    def close(self) -> None:
        """Hold whoever comes from now on."""
        self._is_open.clear()

    def open(self) -> None:
        """Let everybody through who waits or comes."""
        self._is_open.set()

    def let_through(self) -> None:
        """Let those through who wait, and hold whoever comes after them."""
        self._is_open.set()
        self._is_open.clear()

    async def pass_through(self) -> None:
        """Come, and wait while the door is closed."""
        self.comers += 1
        self.waiting += 1
        self._news.set()
        try:
            await self._is_open.wait()
        finally:
            self.waiting -= 1

    async def until_waiting(self, count: int = 1) -> None:
        """Return once so many wait."""
        await self._until(lambda: self.waiting >= count)

    async def until_come(self, count: int) -> None:
        """Return once so many have ever come."""
        await self._until(lambda: self.comers >= count)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        # The bound is for what never comes; a machine that is busy may take long.
        async with asyncio.timeout(60):
            while not is_so():
                self._news.clear()
                await self._news.wait()
