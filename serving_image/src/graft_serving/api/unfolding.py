"""Bodies that come compressed, unfolded a little at a time: a few KiB may unfold into MiB. Pure."""

import zlib
from collections.abc import Iterator
from typing import Final

ENCODINGS: Final = ("gzip", "deflate")
"""Of RFC 9110 (8.4.1); `x-gzip` is the former."""
MOST_UNFOLDED: Final = 64 * 1024
"""Bytes that one step makes."""
_MOST_TAKEN: Final = 4096
"""Bytes that one step takes: what it leaves is copied, and of many small gzip files in one body each is a step."""
_GZIP, _ZLIB, _BARE = 31, 15, -15
"""What zlib calls these formats."""
_ZLIB_METHOD: Final = 8


class Unfolding:
    """One body, decompressed."""

    def __init__(self, encoding: str) -> None:
        """Take one of `ENCODINGS`."""
        self._is_gzip = encoding == "gzip"
        self._inflating: zlib._Decompress | None = None
        self._has_ended = False

    def pieces_of(self, part: bytes) -> Iterator[bytes]:
        """The next bytes unfolded, in pieces that take a moment each; some are empty.

        Raises:
            ValueError: they are not of the encoding.
        """
        for start in range(0, len(part), _MOST_TAKEN):
            left = part[start : start + _MOST_TAKEN]
            while left:
                piece, left = self._step(left)
                yield piece

    def end(self) -> bytes:
        """What is left after the last bytes.

        Raises:
            ValueError: they were not all of it.
        """
        rest = b"" if self._inflating is None else self._inflating.flush()
        if self._inflating is not None and not self._inflating.eof:
            raise ValueError("it ends too early")
        return rest

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        if self._has_ended and not self._is_gzip:
            raise ValueError("something follows its end")
        if self._inflating is None:
            self._inflating = zlib.decompressobj(self._format_of(data))
        try:
            piece = self._inflating.decompress(data, MOST_UNFOLDED)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not self._inflating.eof:
            return piece, self._inflating.unconsumed_tail
        # Another gzip file may follow: together they are one.
        left, self._inflating, self._has_ended = self._inflating.unused_data, None, True
        return piece, left

    def _format_of(self, data: bytes) -> int:
        if self._is_gzip:
            return _GZIP
        # Many send what the name says, and not the format that the standard means by it.
        return _ZLIB if data[0] & 0xF == _ZLIB_METHOD else _BARE
