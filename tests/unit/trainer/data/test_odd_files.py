"""Habits of people's files: what holds no rows is called what it is, and what does is read as it is meant."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.files import record_files
from graft_trainer.data.files.record_files import DataFile, read_records
from graft_trainer.outcome import BadDatasetError

ROW = {"prompt": "q", "completion": "a"}
LINES = json.dumps(ROW).encode() + b"\n"
TABLE = pyarrow.table({name: [text] for name, text in ROW.items()})


def records(folder: Path, name: str, content: bytes, file_type: str = "Auto") -> list[tuple[str, Any]]:
    path = folder / "rows"
    path.write_bytes(content)
    return list(read_records(DataFile(path, f"s3://data/{name}"), file_type, field="spec.dataset"))


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, LINES)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("rows.jsonl")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES))
    return file.getvalue()


def arrow(make: Any) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with make(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return bytes(sink.getvalue())


def parquet_of(table: pyarrow.Table) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table rows (prompt)")
    return connection.serialize()


FOREIGN: dict[str, tuple[str, bytes, str]] = {
    "a ZIP archive called JSON Lines": ("rows.jsonl", zipped("rows.jsonl"), "is an archive; unpack it"),
    "one whose name says so": ("rows.jsonl.zip", zipped("rows.jsonl"), "is an archive; unpack it"),
    "a workbook": ("rows.xlsx", zipped("[Content_Types].xml"), "is a workbook of Excel; save the sheet as CSV UTF-8"),
    "an older one called CSV": ("rows.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is a workbook of Excel"),
    "a tar archive called compressed JSON Lines": ("rows.jsonl.gz", gzip.compress(tarred()), "is an archive; unpack"),
    "Arrow, as save_to_disk writes it": ("data.arrow", arrow(pyarrow.ipc.new_stream), "is an Arrow file, as save_to"),
    "Arrow called Parquet": ("rows.parquet", arrow(pyarrow.ipc.new_file), "write the rows as Parquet"),
    "lz4": ("rows.jsonl.lz4", b"\x04\x22\x4d\x18" + bytes(9), "compress it by gzip, zstd, bzip2 or xz"),
    "twice compressed": ("rows.jsonl.gz", gzip.compress(gzip.compress(LINES)), "is compressed twice; decompress it"),
    "compressed Parquet": ("rows.parquet.gz", gzip.compress(parquet_of(TABLE)), "Parquet that has been compressed"),
    "a pickle": ("rows.pkl", pickle.dumps([ROW]), "is the memory of a program, which is never loaded; write"),
    "an older pickle": ("rows.jsonl", pickle.dumps([ROW], protocol=2), "is the memory of a program"),
    "a database": ("rows.db", database(), "is a database or a table of another kind; export the rows"),
    "a pointer": (
        "rows.parquet",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n",
        "is a pointer of Git LFS, and not the file; run git lfs pull",
    ),
    "a login in place of rows": ("rows.jsonl", b"\n<!DOCTYPE html><html>", "is a web page or an XML document"),
    "an error of a store": ("rows.csv", b'<?xml version="1.0"?><Error/>', "download the file again"),
}


@pytest.mark.parametrize(("name", "content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_what_holds_no_rows_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(BadDatasetError, match=message) as raised:
        records(tmp_path, name, content)
    assert (f"s3://data/{name}" in str(raised.value), raised.value.field) == (True, "spec.dataset")


MEANT: dict[str, tuple[str, bytes, list[str]]] = {
    "zstd of several threads": (
        "rows.jsonl.zst",
        b"\x50\x2a\x4d\x18\x04\0\0\0\x01\0\0\0" + zstandard.compress(LINES),
        ["line 1"],
    ),
    "files with marks, put together": (
        "rows.jsonl",
        b"\xef\xbb\xbf" + LINES + b"\xef\xbb\xbf" + LINES,
        ["line 1", "line 2"],
    ),
    "a line that says what separates": ("rows.csv", b"sep=|\r\nprompt|completion\r\nq|a\r\n", ["line 3"]),
    "rows that were emptied": ("rows.csv", b"prompt,completion\nq,a\n,\n,\n", ["line 2"]),
    "texts that nobody called so": (
        "rows.parquet",
        parquet_of(pyarrow.table({name: pyarrow.array([text.encode()]) for name, text in ROW.items()})),
        ["row 1"],
    ),
}


@pytest.mark.parametrize(("name", "content", "places"), MEANT.values(), ids=MEANT)
def test_a_file_is_read_as_it_is_meant(tmp_path: Path, name: str, content: bytes, places: list[str]) -> None:
    assert records(tmp_path, name, content) == [(place, ROW) for place in places]


def test_a_table_without_a_header_line_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(BadDatasetError, match="its first line, which has to name the columns, is empty"):
        records(tmp_path, "rows.csv", b"\nprompt,completion\nq,a\n")


def test_a_number_of_32_bits_is_what_was_written(tmp_path: Path) -> None:
    table = pyarrow.table({"a": pyarrow.array([0.1, 1e-7, 3.0, None, float("nan")], pyarrow.float32())})
    found = [record["a"] for _, record in records(tmp_path, "rows.parquet", parquet_of(table))]
    assert found == [0.1, 1e-7, 3.0, None, None]


def test_bytes_that_are_no_text_stay_bytes(tmp_path: Path) -> None:
    table = pyarrow.table({"a": [b"\x89PNG"]})
    assert records(tmp_path, "rows.parquet", parquet_of(table)) == [("row 1", {"a": b"\x89PNG"})]


def test_a_row_of_a_large_document_that_says_two_things_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", 0)
    rows = b'[{"text": "a", "text": "b"}, {"text": "a", "text": "a"}, {"of": {"a": 1, "a": 2}}, {"text": "c"}]'
    found = [record for _, record in records(tmp_path, "rows.json", rows)]
    assert [str(record) for record in found if isinstance(record, UnusableRowError)] == [
        "the key 'text' is there twice, with other values",
        "the key 'a' is there twice, with other values",
    ]
    assert [record for record in found if isinstance(record, dict)] == [{"text": "a"}, {"text": "c"}]


def test_a_large_document_may_not_be_nested_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each level the names of all above it are held: a hundred thousand of them take more than a pod has."""
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", 0)
    depth = 900
    with pytest.raises(BadDatasetError, match="it is nested more than 900 levels deep"):
        records(tmp_path, "rows.json", b'[{"text": "x", "a": ' + b"[" * depth + b"]" * depth + b"}]")
    depth -= 2
    ((_, record),) = records(tmp_path, "rows.json", b'[{"text": "x", "a": ' + b"[" * depth + b"]" * depth + b"}]")
    assert record["text"] == "x"


def test_a_large_document_that_is_none_leads_to_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser knows neither NaN nor numbers of more than 64 bits, which a line may have."""
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", 0)
    with pytest.raises(BadDatasetError, match="JSON Lines, a row on each line, loses a bad row and no more"):
        records(tmp_path, "rows.json", b'[{"text": "x", "id": 99999999999999999999}]')


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_line_without_end_is_left_out_and_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    """A file that is no text may be one line, of as many bytes as its compression hides."""
    monkeypatch.setattr(record_files, "LONGEST", 100)
    long = b'{"prompt": "' + b"x" * 1000 + b'"}\n'
    found = records(tmp_path, "rows.jsonl", compress(LINES + long + LINES + long.strip()))
    assert [(place, getattr(record, "reason", None)) for place, record in found] == [
        ("line 1", None),
        ("line 2", DropReason.MALFORMED),
        ("line 3", None),
        ("line 4", DropReason.MALFORMED),
    ]


def test_a_cell_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "LONGEST", 100)
    with pytest.raises(BadDatasetError, match=r"after line 1: field larger than field limit \(100\)"):
        records(tmp_path, "rows.csv", b'prompt,completion\n"' + b"q,a\n" * 100)


@pytest.mark.parametrize(("length", "most"), [(10, 1024), (1 << 20, 16), (20 << 20, 1)])
def test_large_rows_of_parquet_are_read_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, most: int
) -> None:
    sizes: list[int] = []
    plain_objects = record_files._plain_objects

    def spy(batch: Any) -> Any:
        sizes.append(len(batch))
        return plain_objects(batch)

    monkeypatch.setattr(record_files, "_plain_objects", spy)
    count = 2 * most + 1 if most > 1 else 2
    table = pyarrow.table({"text": [f"{number:07d}" + "x" * length for number in range(count)]})
    assert len(records(tmp_path, "rows.parquet", parquet_of(table))) == count
    assert most // 2 <= max(sizes) <= most
