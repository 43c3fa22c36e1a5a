"""Tells what type a file of rows has: by its content where that is certain, else by its name."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from graft_trainer.data.formats import SIGNATURES
from graft_trainer.outcome import BadDatasetError

HEAD_BYTES = 1 << 20
"""How much of a file is looked at: more than the first row of almost every set."""

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

FILE_TYPES_BY_EXTENSION = {
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".csv": "CSV",
}

GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a file raises that begins like gzip and is damaged or cut short."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where it is compressed."""
    with path.open("rb") as stream:
        compressed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path)) if compressed else path.open("rb")


def detect_file_type(path: Path, uri: str, *, field: str) -> str:
    """Return JSONL, JSON, Parquet or CSV.

    Raises BadDatasetError where neither content nor name tell.
    """
    head = _head(path, uri, field)
    extension = PurePosixPath(uri.removesuffix(".gz")).suffix.lower()
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


def _head(path: Path, uri: str, field: str) -> bytes:
    try:
        with open_bytes(path) as stream:
            head = stream.read(HEAD_BYTES)
    except GZIP_ERRORS as error:
        raise BadDatasetError(f"{uri} is damaged gzip ({error}); compress it again", field=field) from error
    if head.startswith(UTF16_MARKS):
        raise BadDatasetError(f"{uri} is UTF-16 text; save it as UTF-8", field=field)
    return head


def _one_object_or_many(start: bytes, named: str | None) -> str:
    """Tell JSON from JSON Lines, which begin alike, by whether the first line is a whole row."""
    first, _, rest = start.partition(b"\n")
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        # An object over several lines, or a first row that is broken or longer than what was read.
        return "JSON" if named == "JSON" or first.strip() == b"{" else "JSONL"
    is_row = any(keys <= record.keys() for keys in SIGNATURES.values())
    holds_rows = any(isinstance(value, list) for value in record.values())
    return "JSON" if not rest.strip() and not is_row and holds_rows else "JSONL"
