"""A rate limit on what is read from the pods of one namespace, so that they take nothing from other tenants.

Whoever has rights in a namespace can run pods that pass for serving pods: any number of them, with ever-new news, the
largest documents that are read, byte by byte.
"""

import asyncio
from typing import Final

PODS_ASKED: Final = 64
"""Most pods of a namespace that are asked at once. With more, pods take turns, and requests are held open shortly."""
DOCUMENTS_READ: Final = 4
"""Most large documents of a namespace that are read at once."""
BYTES_PER_SECOND: Final = 4 * 2**20
"""In the long run: reading as much takes about a tenth of a processor."""
BURST_BYTES: Final = 8 * 2**20
BYTES_PER_ADAPTER: Final = 512
"""Charged for each adapter of a document besides its bytes: twelve bytes are enough to name one."""


class NamespaceBudget:
    """The limits of one namespace. For one event loop."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(PODS_ASKED)
        self.documents = asyncio.Semaphore(DOCUMENTS_READ)
        self._paid_until = 0.0

    @property
    def crowded(self) -> bool:
        """Whether somebody waits for a place, or is about to."""
        return self.places.locked()

    def charge(self, size: int) -> None:
        """Note that so many bytes have been read."""
        now = asyncio.get_running_loop().time()
        self._paid_until = max(self._paid_until, now) + size / BYTES_PER_SECOND

    async def paid(self) -> None:
        """Wait until what has been read is within the budget."""
        due = self._paid_until - BURST_BYTES / BYTES_PER_SECOND
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
