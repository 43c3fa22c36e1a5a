"""Files that are written from the beginning to the end, and read from any place."""

from __future__ import annotations

import os
from pathlib import Path


class FlatFile:
    """A file that is complete. It can be read after somebody has deleted it.

    It is read and not mapped: the pages of a mapped file count as the process's own memory.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to ``end``. Raises EOFError where the file has fewer."""
        data = os.pread(self._file.fileno(), end - start, start)
        while len(data) < end - start:
            more = os.pread(self._file.fileno(), end - start - len(data), start + len(data))
            if not more:
                raise EOFError(f"{self._file.name} has {self.size} bytes, and {end} were asked for")
            data += more
        return data
