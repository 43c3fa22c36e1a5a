"""The revision of the pod's state document, by which a reader can wait for the next one (long polling)."""

import asyncio
import contextlib
import uuid
from collections.abc import Hashable


class Revision:
    """The present revision's name: another one after each change, and after each start of the agent."""

    def __init__(self) -> None:
        """Begin with a name that no earlier life of the agent has used."""
        self._life = uuid.uuid4().hex[:8]
        self._number = 0
        self._said: Hashable = None
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """The present name."""
        return f"{self._life}-{self._number}"

    def update(self, said: Hashable) -> None:
        """Take over what the pod says now; whoever waits is told if that is something else than before."""
        if said == self._said:
            return
        self._said = said
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_beyond(self, name: str, seconds: float) -> None:
        """Return once the name is another one than `name`, or after so many seconds."""
        if name != self.name:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
