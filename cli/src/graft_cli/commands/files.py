"""The files that a command line names."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from graft_cli.errors import GraftError

ENDINGS: Final = (".yaml", ".yml", ".json")
STDIN: Final = "-"
MARKS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""PowerShell writes such files, and kubectl reads them."""


def found_files(names: Sequence[str]) -> Iterator[str]:
    """Yield the files that are named, and those below folders that are."""
    for name in names:
        path = Path(name)
        if name != STDIN and path.is_dir():
            yield from (str(item) for item in sorted(path.rglob("*")) if item.suffix in ENDINGS and item.is_file())
        else:
            yield name


def read_text(file: str) -> str:
    """Return a file's text, in UTF-8 or with a mark that says in which encoding. Raises GraftError where it is none."""
    try:
        content = standard_input() if file == STDIN else Path(file).read_bytes()
        return content.decode(next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(f"{file}: {error}", fix="give a text file that you may read") from error


def standard_input() -> bytes:
    """Return all of stdin; nothing where whoever started this has closed it."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""
