"""The wanted set from a file, for a pod without an API to ask."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from graft_serving.files import read_if_there

POLL_SECONDS = 0.1


async def wanted_sets_of_file(path: Path) -> AsyncIterator[bytes]:
    """Yield the file's content now and at each change, for ever. A missing file changes nothing."""
    last: bytes | None = None
    while True:
        content = read_if_there(path)
        if content is not None and content != last:
            last = content
            yield content
        await asyncio.sleep(POLL_SECONDS)
