"""Reads the records of a file, one by one, whatever type it has.

A record that is broken is handed on as the error that it is, so that others can still be used. Only what makes the
whole file unreadable is raised.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.texts import read_json
from graft_trainer.data.files.file_types import (
    HEAD_BYTES,
    WrongFileTypeError,
    decompressing,
    detect_file_type,
    open_bytes,
    read_head,
)
from graft_trainer.data.files.large_documents import large_document_rows
from graft_trainer.data.formats import is_row
from graft_trainer.outcome import BadDatasetError

Record = Mapping[str, Any]
Records = Iterator[tuple[str, Record | UnusableRowError]]
"""Where each record is in its file, such as ``line 7``, and what it is."""

LARGE_DOCUMENT = 32 << 20
"""Bytes of a JSON document from which on it is read row by row, which takes longer than all at once."""

SEPARATOR = re.compile(r"sep=([^\w\s\"]|\t)\s*", re.IGNORECASE)
"""A first line that says what separates the cells, as Excel writes and reads it."""

PARQUET_BATCH_ROWS = 1024
PARQUET_BATCH_BYTES = 16 << 20
"""Most rows of Parquet, and about the bytes of them, that are turned into Python objects at a time."""

LONGEST = 256 << 20
"""Bytes of a line, and characters of a cell: what is longer comes of a file that is no text, or not what its type says,
and may be as long as that; nothing beyond ``training.maxSequenceLength`` is learned of it anyway."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file on the local disk, and the name under which its user knows it."""

    path: Path
    uri: str


def read_records(file: DataFile, file_type: str, *, field: str) -> Records:
    """Yield the records of a file; ``file_type`` of Auto finds the type out.

    Raises BadDatasetError where the file as a whole is not of that type.
    """
    head = read_head(file.path, file.uri, field=field)
    if file_type == "Auto":
        file_type = detect_file_type(head, file.uri, field=field)
    try:
        with decompressing(file.uri, field=field):
            yield from READERS[file_type](file.path)
    except UnicodeDecodeError as error:
        raise BadDatasetError(f"{file.uri} is not UTF-8 text ({error}); save it as UTF-8", field=field) from error
    except WrongFileTypeError as error:
        raise BadDatasetError(
            f"{file.uri} cannot be read as {file_type}: {error}; mend the file or set spec.dataset.fileType",
            field=field,
        ) from error


def _json_lines(path: Path) -> Records:
    with open_bytes(path) as stream:
        # Lines end at \n only: JSON strings may hold U+2028, at which splitlines() would cut.
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield f"line {number}", UnusableRowError(DropReason.MALFORMED, f"is longer than {LONGEST >> 20} MiB")
            elif line.strip():
                yield f"line {number}", _json_record(line)


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of a file, None for one that is too long to be held."""
    while line := stream.readline(LONGEST):
        if len(line) < LONGEST or line.endswith(b"\n"):
            yield line
            continue
        yield None
        while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
            pass


def _json_record(line: bytes) -> Record | UnusableRowError:
    try:
        # Files that were put together have the mark of each in between.
        record = read_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return UnusableRowError(DropReason.NOT_JSON, f"not JSON ({error})")
    return _object(record)


def _json_document(path: Path) -> Records:
    with open_bytes(path) as stream:
        # The file may be compressed, so its size does not tell the document's.
        content = stream.read(LARGE_DOCUMENT)
    if len(content) >= LARGE_DOCUMENT:
        for position, record in large_document_rows(path):
            yield position, record if isinstance(record, UnusableRowError) else _object(record)
        return
    text = content.decode("utf-8-sig")
    try:
        document = read_json(text)
    except (ValueError, RecursionError) as error:
        raise WrongFileTypeError(f"it is not one JSON document ({error})") from error
    for number, record in enumerate(_rows_of(document), start=1):
        yield f"row {number}", _object(record)


def _rows_of(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        if is_row(document):
            return [document]
        lists = [value for value in document.values() if isinstance(value, list)]
        if len(lists) == 1:
            return lists[0]
        raise WrongFileTypeError(f"its object holds {len(lists)} lists, and exactly one of them can be the rows")
    raise WrongFileTypeError("it must be a list of rows, or an object that holds one list of rows")


def _csv_rows(path: Path) -> Records:
    # Answers may be longer than the 128 KiB at which the module stops by default.
    csv.field_size_limit(LONGEST)
    with open_bytes(path) as stream:
        first = io.TextIOWrapper(stream, "utf-8-sig", newline="").readline(HEAD_BYTES)
    said = SEPARATOR.fullmatch(first)
    with open_bytes(path) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        before = 1 if said and text.readline() else 0
        reader = csv.DictReader(text, delimiter=said[1] if said else _delimiter(first), strict=True)
        try:
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            _check_names(reader.fieldnames)
            if first and not any(reader.fieldnames):
                raise WrongFileTypeError("its first line, which has to name the columns, is empty")
            for record in reader:
                # What tables end with are rows that were emptied, and not taken out.
                if any(record.values()):
                    yield f"line {before + reader.line_num}", _csv_record(record)
        except csv.Error as error:
            raise WrongFileTypeError(f"after line {before + reader.line_num}: {error}") from error


def _delimiter(header: str) -> str:
    """Return what separates the cells of a header: tabs, which no name has, else what is in no quoted name."""
    unquoted = re.sub('"[^"]*"', "", header)
    # A table of one column has none.
    return next((mark for mark in "\t,;" if mark in unquoted), ",")


def _check_names(names: Sequence[str]) -> None:
    """Refuse a table in which two columns have one name, of which one would be lost."""
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise WrongFileTypeError(f"it has {names.count(twice)} columns called {twice}; leave one of them")


def _csv_record(record: dict[Any, Any]) -> Record | UnusableRowError:
    # DictReader files surplus cells under the key None, and gives None for those that are missing.
    if None in record or None in record.values():
        return UnusableRowError(DropReason.MALFORMED, "has more or fewer cells than the header")
    return record


def _parquet_rows(path: Path) -> Records:
    # Takes longer to import than most files take to read.
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            _check_names(table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_rows_at_a_time(table.metadata)):
                for record in _plain_objects(_with_short_numbers(batch)):
                    number += 1
                    yield f"row {number}", {key: _without_padding(value) for key, value in record.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise WrongFileTypeError(str(error)) from error


def _rows_at_a_time(metadata: Any) -> int:
    """Return how many rows of a file are some megabytes where they are largest."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size / group.num_rows for group in groups if group.num_rows), default=1)
    return max(1, min(PARQUET_BATCH_ROWS, int(PARQUET_BATCH_BYTES / max(largest, 1))))


def _with_short_numbers(batch: Any) -> Any:
    """Return a batch whose numbers of 32 bits say what they were written as: 0.1, and not 0.10000000149011612."""
    import pyarrow

    for index, column in enumerate(batch.schema):
        if pyarrow.types.is_float32(column.type):
            numbers = batch.column(index).cast(pyarrow.string()).cast(pyarrow.float64())
            batch = batch.set_column(index, column.name, numbers)
    return batch


def _plain_objects(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch. Raises WrongFileTypeError with the column whose cells Python can't hold."""
    try:
        return cast("list[dict[str, Any]]", batch.to_pylist(maps_as_pydicts="strict"))
    except UnicodeDecodeError:
        raise
    except (ValueError, ArithmeticError, LookupError) as error:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                column.to_pylist(maps_as_pydicts="strict")
            except (ValueError, ArithmeticError, LookupError):
                raise WrongFileTypeError(
                    f"column {name} has cells of type {column.type} that can't be read ({error}); leave the column out"
                ) from error
        raise WrongFileTypeError(str(error)) from error


def _without_padding(value: Any) -> Any:
    """Leave out nulls within a cell: Arrow gives all structs of a column the fields of every one of them.

    Dates and the like, which no JSON has, become texts, and so do bytes that are UTF-8, since not all who write texts
    call them so. NaN, which is what tables of numbers lack, becomes null.
    """
    if isinstance(value, Mapping):
        items = ((key, _without_padding(item)) for key, item in value.items())
        return {key: item for key, item in items if item is not None}
    if isinstance(value, list):
        return [_without_padding(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value if isinstance(value, (str, bool, int, float)) or value is None else str(value)


def _object(record: Any) -> Record | UnusableRowError:
    if not isinstance(record, dict):
        return UnusableRowError(DropReason.NOT_AN_OBJECT, f"must be a JSON object, not {type(record).__name__}")
    return record


READERS: dict[str, Callable[[Path], Records]] = {
    "JSONL": _json_lines,
    "JSON": _json_document,
    "Parquet": _parquet_rows,
    "CSV": _csv_rows,
}
