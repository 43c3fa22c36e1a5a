"""Tells what type a file of rows has: by its content where that is certain, else by its name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import zstandard

from graft_trainer.data.files.foreign_files import foreign_kind
from graft_trainer.data.formats import is_row
from graft_trainer.outcome import BadDatasetError

HEAD_BYTES = 1 << 20
"""How much of a file is looked at: more than the first row of almost every set."""

CHUNK = 1 << 18
LARGEST_WINDOW = 1 << 31
"""That of zstd's option --long=31, which sets of web pages are compressed with."""


class WrongFileTypeError(Exception):
    """The content is not what the file's type says."""


class Zstandard(io.RawIOBase):
    """Decompresses a file of one frame or several; one that is cut short is an EOFError, which zstandard's isn't."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
        self._begun = False
        """Whether a frame has begun that hasn't ended."""
        self._ready = b""

    def readable(self) -> bool:
        """Return that there is something to read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer; 0 means the end."""
        while not self._ready:
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
            data = data or self._file.read(CHUNK)
            if not data:
                if self._begun:
                    raise EOFError("the last frame is not complete")
                return 0
            self._ready = self._frame.decompress(data)
            self._begun = not self._frame.eof
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


COMPRESSED: tuple[tuple[re.Pattern[bytes], Callable[[Path], Any]], ...] = (
    (re.compile(rb"\x1f\x8b"), gzip.open),
    # Programs that compress with several threads begin with a frame that is to be skipped.
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), lambda path: io.BufferedReader(Zstandard(path), CHUNK)),
    (re.compile(rb"BZh[1-9]"), bz2.open),
    (re.compile(rb"\xfd7zXZ\0"), lzma.open),
)
"""How files are opened that begin so: gzip, zstd, bzip2, xz."""
COMPRESSED_EXTENSIONS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
PARQUET_MAGIC = b"PAR1"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

FILE_TYPES_BY_EXTENSION = {
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
}

DAMAGES = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError, lzma.LZMAError)
"""What reading a compressed file raises that is damaged or cut short."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressing it where it is compressed."""
    with path.open("rb") as stream:
        start = stream.read(8)
    opener = next((opener for begins, opener in COMPRESSED if begins.match(start)), None)
    return path.open("rb") if opener is None else cast("IO[bytes]", opener(path))


def detect_file_type(head: bytes, uri: str, *, field: str) -> str:
    """Return JSONL, JSON, Parquet or CSV of a file that begins with ``head``.

    Raises BadDatasetError where neither content nor name tell.
    """
    name = PurePosixPath(uri.lower())
    extension = name.with_suffix("").suffix if name.suffix in COMPRESSED_EXTENSIONS else name.suffix
    named = FILE_TYPES_BY_EXTENSION.get(extension)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(PARQUET_MAGIC):
        return "Parquet"
    if named in ("CSV", "Parquet"):
        return named
    if start.startswith(b"["):
        return "JSON"
    if start.startswith(b"{"):
        return _one_object_or_many(start, named)
    if not start:
        return "JSONL"
    if named is not None:
        return named
    raise BadDatasetError(
        f"cannot tell the type of {uri} from its name or content; give it one of the extensions "
        f"{', '.join(FILE_TYPES_BY_EXTENSION)}, or set spec.dataset.fileType",
        field=field,
    )


def read_head(path: Path, uri: str, *, field: str) -> bytes:
    """Return what a file begins with, decompressed.

    Raises BadDatasetError where that is damaged, no file of rows, or text of another encoding than UTF-8, whatever its
    type.
    """
    with decompressing(uri, field=field), open_bytes(path) as stream:
        head = stream.read(HEAD_BYTES)
    with path.open("rb") as stream:
        is_compressed = stream.read(len(PARQUET_MAGIC)) != head[: len(PARQUET_MAGIC)]
    if is_compressed and head.startswith(PARQUET_MAGIC):
        raise BadDatasetError(f"{uri} is Parquet that has been compressed as a whole; decompress it", field=field)
    if (kind := foreign_kind(head)) is not None:
        what, remedy = kind
        raise BadDatasetError(f"{uri} is {what}; {remedy}", field=field)
    if head.startswith(UTF16_MARKS):
        raise BadDatasetError(f"{uri} is UTF-16 text; save it as UTF-8", field=field)
    if b"\0" in head[:2]:
        # Rows begin with ASCII, of whose characters UTF-16 and UTF-32 have halves of zero.
        raise BadDatasetError(f"{uri} is UTF-16 text without its mark, or no text; save it as UTF-8", field=field)
    return head


@contextmanager
def decompressing(uri: str, *, field: str) -> Iterator[None]:
    """Turn what a decompressor says of a damaged file into a BadDatasetError."""
    try:
        yield
    except DAMAGES as error:
        raise _damaged(uri, error, field) from error
    except OSError as error:
        # What bz2 raises has no number, unlike what the disk does.
        if error.errno is not None:
            raise
        raise _damaged(uri, error, field) from error


def _damaged(uri: str, error: Exception, field: str) -> BadDatasetError:
    return BadDatasetError(f"{uri} is damaged or cut short ({error}); compress it again", field=field)


def _one_object_or_many(start: bytes, named: str | None) -> str:
    """Tell JSON from JSON Lines, which begin alike, by whether the first line is a whole row."""
    first, _, rest = start.partition(b"\n")
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        # An object over several lines, or a first row that is broken or longer than what was read.
        return "JSON" if named == "JSON" or first.strip() == b"{" else "JSONL"
    holds_rows = any(isinstance(value, list) for value in record.values())
    return "JSON" if not rest.strip() and not is_row(record) and holds_rows else "JSONL"
