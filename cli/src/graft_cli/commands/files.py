"""The files that a command line names."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from graft_cli.errors import GraftError

ENDINGS: Final = (".yaml", ".yml", ".json")
STDIN: Final = "-"


def found_files(names: Sequence[str]) -> Iterator[str]:
    """Yield the files that are named, and those below folders that are."""
    for name in names:
        path = Path(name)
        if name != STDIN and path.is_dir():
            yield from (str(item) for item in sorted(path.rglob("*")) if item.suffix in ENDINGS and item.is_file())
        else:
            yield name


def read_text(file: str) -> str:
    """Return a file's text. Raises GraftError where it can't be read."""
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(f"{file}: {error}", fix="give a text file that you may read") from error
