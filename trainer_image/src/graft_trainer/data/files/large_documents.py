"""Reads a JSON document that is too large for memory, row by row.

It is gone through twice, since what comes after the rows may show that they aren't, or that it is no JSON.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.files.file_types import WrongFileTypeError, open_bytes

MOST_NESTED: Final = 900
"""Levels of a document: for each, the names of all above it are held. Python reads as many of a small one."""


def large_document_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each row with its place; one that says two things under one key is the error that it is.

    Raises WrongFileTypeError where the document is no list of rows, nor an object that holds one.
    """
    # Only few runs need it.
    import ijson

    try:
        with _past_mark(path) as stream:
            rows = _place_of_rows(ijson.basic_parse(stream, use_float=True))
        with _past_mark(path) as stream:
            for number, record in enumerate(ijson.items(stream, rows, use_float=True, map_type=_Object), start=1):
                yield f"row {number}", _checked(record)
    except ijson.JSONError as error:
        raise WrongFileTypeError(
            f"it is not one JSON document ({error}); JSON Lines, a row on each line, loses a bad row and no more"
        ) from error


class _Object(dict[str, Any]):
    """An object that notes which of its keys says two things, of which one is lost."""

    __slots__ = ("twice",)
    any_twice = False
    """Whether there has been such an object: as long as there has been none, nothing has to be looked for."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self and self[key] != value:
            self.twice = key
            _Object.any_twice = True
        super().__setitem__(key, value)


def _checked(record: Any) -> Any:
    """Return a record, or where one of its objects says two things under one key, the error that it is."""
    left = [record] if _Object.any_twice else []
    while left:
        value = left.pop()
        if isinstance(value, _Object):
            if (key := getattr(value, "twice", None)) is not None:
                return UnusableRowError(DropReason.NOT_JSON, f"the key {key!r} is there twice, with other values")
            left += value.values()
        elif isinstance(value, list):
            left += value
    return record


@contextmanager
def _past_mark(path: Path) -> Iterator[IO[bytes]]:
    """Open a document behind its byte order mark, if it has one."""
    with open_bytes(path) as stream:
        marked = stream.read(len(BOM_UTF8)) == BOM_UTF8
    with open_bytes(path) as stream:
        stream.read(len(BOM_UTF8) if marked else 0)
        yield stream


def _place_of_rows(events: Iterator[tuple[str, Any]]) -> str:
    """Return where in a document its rows are, as ijson names it: all of it, or one list of its object."""
    lists: list[str] = []
    key, depth, top = "", 0, None
    for event, value in events:
        top = top or event
        if event == "map_key" and depth == 1:
            key = value
        elif event in ("start_array", "start_map"):
            if depth == 1 and event == "start_array":
                lists.append(key)
            depth += 1
            if depth > MOST_NESTED:
                raise WrongFileTypeError(f"it is nested more than {MOST_NESTED} levels deep")
        elif event in ("end_array", "end_map"):
            depth -= 1
    if top == "start_array":
        return "item"
    if top == "start_map" and len(lists) == 1:
        return f"{lists[0]}.item"
    if top == "start_map":
        raise WrongFileTypeError(f"its object holds {len(lists)} lists, and exactly one of them can be the rows")
    raise WrongFileTypeError("it must be a list of rows, or an object that holds one list of rows")
