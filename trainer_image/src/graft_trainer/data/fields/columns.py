"""Columns that a set calls by other names than those that are known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from textwrap import shorten
from typing import Any, Final

from graft_trainer.data.dropped_rows import SHAPELESS, UnusableRowError

Record = Mapping[str, Any]

LONGEST_NAME: Final = 100
"""Characters of a name that are told."""


def with_columns(record: Record, columns: Mapping[str, str]) -> Record:
    """Return a record under the names that are known here; ``columns`` maps those to the set's own."""
    if not columns:
        return record
    renamed = {theirs: ours for ours, theirs in columns.items()}
    kept = {key: value for key, value in record.items() if key not in renamed and key not in columns}
    return kept | {ours: record[theirs] for theirs, ours in renamed.items() if theirs in record}


@contextmanager
def naming_missing_column(record: Record, columns: Mapping[str, str]) -> Iterator[None]:
    """Tell of a row whose shape is not known that ``columns`` names what it lacks, where that is so.

    Others may lack it, too: a system turn that only some rows have is no fault.
    """
    try:
        yield
    except UnusableRowError as error:
        if error.reason in SHAPELESS and (missing := missing_column(record, columns)):
            raise UnusableRowError(error.reason, missing) from error
        raise


def missing_column(record: Record, columns: Mapping[str, str]) -> str:
    """Return what is wrong with ``columns`` where they name one that the record lacks; empty where they don't."""
    ours = next((name for name, theirs in columns.items() if theirs not in record), None)
    if ours is None:
        return ""
    return _without_column(ours, columns[ours], tuple(sorted(str(key) for key in record)))


@lru_cache(maxsize=64)  # of a million rows most have the same keys
def _without_column(ours: str, theirs: str, own: tuple[str, ...]) -> str:
    near = get_close_matches(theirs, own, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    return f"spec.dataset.columns.{ours}: there is no column {theirs}{meant} The row has {', '.join(own)}"


def as_told(name: str) -> str:
    """Return a name as logs and manifests take it: names of keys are as long, and of such characters, as files want."""
    return shorten(name.encode(errors="backslashreplace").decode(), LONGEST_NAME, placeholder="…")
