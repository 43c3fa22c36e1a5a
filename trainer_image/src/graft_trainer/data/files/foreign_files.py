"""Files that hold no rows to read, told by how they begin: archives, workbooks, and what came in place of a file."""

from __future__ import annotations

import re
from typing import Final

_ARCHIVE: Final = ("an archive", "unpack it, and give the files in it")
_WORKBOOK: Final = ("a workbook of Excel", "save the sheet as CSV UTF-8")
_ARROW: Final = (
    "an Arrow file, as save_to_disk and the cache of datasets have",
    "write the rows as Parquet, as Dataset.to_parquet does",
)
_COMPRESSED: Final = ("compressed in a way that is not read", "compress it by gzip, zstd, bzip2 or xz")
_TWICE: Final = ("compressed twice", "decompress it once")
_OBJECTS: Final = ("the memory of a program, which is never loaded", "write the rows as JSON Lines or Parquet")
_TABLES: Final = ("a database or a table of another kind", "export the rows as JSON Lines, Parquet or CSV")
_POINTER: Final = ("a pointer of Git LFS, and not the file", "run git lfs pull, and upload the file itself")
_PAGE: Final = ("a web page or an XML document, such as an error or a login", "download the file again")

FOREIGN: Final[tuple[tuple[re.Pattern[bytes], tuple[str, str]], ...]] = tuple(
    (re.compile(begins, re.DOTALL), kind)
    for begins, kind in (
        (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels/|xl/)", _WORKBOOK),
        (rb"PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|.{257}ustar", _ARCHIVE),
        (rb"\xd0\xcf\x11\xe0", _WORKBOOK),
        (rb"ARROW1\0\0|\xff{4}..\0\0\x10\0\0\0", _ARROW),
        (rb"\x04\x22\x4d\x18|\]\0\0|LZIP", _COMPRESSED),
        (rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|BZh[1-9]1AY|\xfd7zXZ\0", _TWICE),
        (rb"\x80[\x02-\x05][\x80-\xff}\]c(]|\x93NUMPY", _OBJECTS),
        (rb"SQLite format 3\0|Obj\x01|\x89HDF|ORC[\0-\x1f]", _TABLES),
        (rb"version https://git-lfs\.github\.com/", _POINTER),
        (rb"\s*(?i:<!doctype|<html|<\?xml)", _PAGE),
    )
)
"""What files begin with, and what they are, with what to do."""


def foreign_kind(head: bytes) -> tuple[str, str] | None:
    """Return what a file is that begins so, and what to do about it as an imperative; None where it may hold rows."""
    return next((kind for pattern, kind in FOREIGN if pattern.match(head)), None)
