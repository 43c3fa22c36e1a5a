"""Files of rows: their types are found out, and their rows are the same whatever the type."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from graft_trainer.data.files import record_files
from graft_trainer.data.files.file_types import detect_file_type, read_head
from graft_trainer.data.files.record_files import DataFile, read_records
from graft_trainer.outcome import BadDatasetError

ROWS = [{"prompt": "two\u2028lines", "completion": "a, b"}, {"prompt": 'say "x"\nnow', "completion": "ü"}]


def as_json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n\n" for row in rows).encode()


def as_csv(rows: list[dict[str, str]]) -> bytes:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "\r\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines).encode()


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    return parquet_of(pyarrow.Table.from_pylist(rows))


def parquet_of(table: pyarrow.Table) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


FILES: dict[str, tuple[str, bytes, str]] = {
    "JSON Lines": ("rows.jsonl", as_json_lines(ROWS), "JSONL"),
    "JSON Lines with a byte order mark and no name that helps": (
        "rows",
        b"\xef\xbb\xbf" + as_json_lines(ROWS),
        "JSONL",
    ),
    "JSON Lines called .json, as many are": ("rows.json", as_json_lines(ROWS), "JSONL"),
    "compressed JSON Lines": ("rows.jsonl.gz", gzip.compress(as_json_lines(ROWS)), "JSONL"),
    "a list": ("rows.json", json.dumps(ROWS).encode(), "JSON"),
    "a list called .jsonl": ("rows.jsonl", json.dumps(ROWS, indent=1).encode(), "JSON"),
    "an object with one list": ("rows.json", json.dumps({"version": 1, "data": ROWS}, indent=2).encode(), "JSON"),
    "an object with one list on one line": ("rows.json", json.dumps({"version": 1, "data": ROWS}).encode(), "JSON"),
    "a table with a header": ("rows.csv", as_csv(ROWS), "CSV"),
    "a table with a byte order mark": ("rows.csv", b"\xef\xbb\xbf" + as_csv(ROWS), "CSV"),
    "zstd, as the Pile is": ("rows.jsonl.zst", zstandard.compress(as_json_lines(ROWS)), "JSONL"),
    "zstd of two frames": (
        "rows.jsonl.zst",
        b"".join(zstandard.compress(as_json_lines([row])) for row in ROWS),
        "JSONL",
    ),
    "zstd under another name": ("rows.bin", zstandard.compress(as_json_lines(ROWS)), "JSONL"),
    "bzip2": ("rows.jsonl.bz2", bz2.compress(as_json_lines(ROWS)), "JSONL"),
    "xz": ("rows.csv.xz", lzma.compress(as_csv(ROWS)), "CSV"),
    "a table with tabs": ("rows.tsv", as_csv(ROWS).replace(b'","', b'"\t"'), "CSV"),
    "a table with semicolons, as spreadsheets of half of Europe": (
        "rows.csv",
        as_csv(ROWS).replace(b'","', b'";"'),
        "CSV",
    ),
    "a table with spaces in its header": (
        "rows.csv",
        as_csv(ROWS).replace(b'"prompt","completion"', b"prompt, completion"),
        "CSV",
    ),
    "Parquet": ("rows.parquet", as_parquet(ROWS), "Parquet"),
    "Parquet under another name": ("rows.data", as_parquet(ROWS), "Parquet"),
}


def stored(folder: Path, name: str, content: bytes) -> DataFile:
    path = folder / "rows"
    path.write_bytes(content)
    return DataFile(path, f"s3://data/{name}")


@pytest.mark.parametrize(("name", "content", "file_type"), FILES.values(), ids=FILES)
def test_the_same_rows_come_from_every_file(tmp_path: Path, name: str, content: bytes, file_type: str) -> None:
    file = stored(tmp_path, name, content)
    head = read_head(file.path, file.uri, field="spec.dataset")
    assert detect_file_type(head, file.uri, field="spec.dataset") == file_type
    assert [record for _, record in read_records(file, "Auto", field="spec.dataset")] == ROWS
    assert [record for _, record in read_records(file, file_type, field="spec.dataset")] == ROWS


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (json.dumps({"messages": [{"role": "user", "content": "q"}]}).encode(), 1),
        (json.dumps({"prompt": "q", "completion": "a", "tags": []}, indent=1).encode(), 1),
        (b"", 0),
        (b"\n\n", 0),
    ],
)
def test_a_single_row_is_not_taken_for_a_list_of_rows(tmp_path: Path, content: bytes, rows: int) -> None:
    assert len(list(read_records(stored(tmp_path, "rows.json", content), "Auto", field="spec.dataset"))) == rows


def test_nested_values_of_parquet_become_plain_objects(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}] * 3
    file = stored(tmp_path, "rows.parquet", as_parquet(rows))  # type: ignore[arg-type]
    assert list(read_records(file, "Auto", field="spec.dataset")) == [
        (f"row {number}", rows[0]) for number in (1, 2, 3)
    ]


def test_what_parquet_pads_structs_with_is_left_out(tmp_path: Path) -> None:
    calls = [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}]
    others = [{"function": {"name": "wait", "arguments": {"days": 3}}}]
    rows = [{"messages": [{"role": "assistant", "tool_calls": each}]} for each in (calls, others)]
    file = stored(tmp_path, "rows.parquet", as_parquet(rows))  # type: ignore[arg-type]
    assert [record for _, record in read_records(file, "Auto", field="spec.dataset")] == rows


def test_typed_cells_become_what_a_text_would_say(tmp_path: Path) -> None:
    row = {"prompt": 7, "completion": date(2024, 2, 29), "score": 0.5, "none": None}
    file = stored(tmp_path, "rows.parquet", as_parquet([row]))  # type: ignore[list-item]
    ((_, record),) = read_records(file, "Auto", field="spec.dataset")
    assert record == {"prompt": 7, "completion": "2024-02-29", "score": 0.5, "none": None}


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    row = {"text": "x" * 1_000_000}
    file = stored(tmp_path, "rows.csv", as_csv([row]))
    assert list(read_records(file, "Auto", field="spec.dataset")) == [("line 2", row)]


UNREADABLE: dict[str, tuple[str, bytes, str, str]] = {
    "text that is no table of ours": ("rows.txt", b"hello", "Auto", "cannot tell the type of s3://data/rows.txt"),
    "a pickle": ("rows.pkl", b"\x80\x04N.", "Auto", "set spec.dataset.fileType"),
    "UTF-16, as spreadsheets save it": (
        "rows.csv",
        "text\nü".encode("utf-16"),
        "Auto",
        "is UTF-16 text; save it as UTF-8",
    ),
    "UTF-16 without a mark": (
        "rows.jsonl",
        as_json_lines(ROWS).decode().encode("utf-16-le"),
        "Auto",
        "without its mark",
    ),
    "UTF-16 that is said to be JSON Lines": (
        "rows.jsonl",
        as_json_lines(ROWS).decode().encode("utf-16"),
        "JSONL",
        "is UTF-16 text",
    ),
    "damaged bzip2": ("rows.jsonl.bz2", bz2.compress(as_json_lines(ROWS))[:30] + b"oops", "Auto", "is damaged or cut"),
    "bzip2 that is none": ("rows.jsonl.bz2", b"BZh9 nothing of the kind", "Auto", "is damaged or cut short"),
    "a table with two columns of one name": ("rows.csv", b"text,text\na,b", "Auto", "it has 2 columns called text"),
    "a table whose header is ragged": ("rows.csv", b'"a" b;"c"\nd;e', "Auto", "cannot be read as CSV: after line 0"),
    "Parquet with two columns of one name": (
        "rows.parquet",
        parquet_of(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])),
        "Auto",
        "it has 2 columns called text",
    ),
    "Parquet with a year that no calendar has": (
        "rows.parquet",
        parquet_of(pyarrow.table({"text": ["a"], "at": pyarrow.array([2**62], pyarrow.timestamp("us"))})),
        "Auto",
        "column at has cells of type timestamp",
    ),
    "Parquet with a time of nowhere": (
        "rows.parquet",
        parquet_of(pyarrow.table({"text": ["a"], "at": pyarrow.array([1], pyarrow.timestamp("us", tz="Oz/Emerald"))})),
        "Auto",
        "column at has cells of type timestamp",
    ),
    "two things under one key": (
        "rows.json",
        b'[{"text": "a", "text": "b"}]',
        "Auto",
        "is there twice",
    ),
    "Latin-1": ("rows.csv", "text\nü".encode("latin-1"), "Auto", "is not UTF-8 text"),
    "damaged zstd": ("rows.jsonl.zst", zstandard.compress(as_json_lines(ROWS))[:-9], "Auto", "is damaged or cut short"),
    "damaged xz": ("rows.jsonl.xz", lzma.compress(as_json_lines(ROWS))[:-9], "Auto", "is damaged or cut short"),
    "damaged gzip": ("rows.jsonl.gz", gzip.compress(as_json_lines(ROWS))[:-9], "Auto", "is damaged or cut short"),
    "gzip that is none": ("rows.jsonl.gz", b"\x1f\x8bnothing", "Auto", "is damaged or cut short"),
    "Parquet by name only": ("rows.parquet", as_json_lines(ROWS), "Auto", "cannot be read as Parquet"),
    "Parquet that is cut short": ("rows.parquet", as_parquet(ROWS)[:-20], "Auto", "cannot be read as Parquet"),
    "a list that is cut short": ("rows.json", b'[{"text": "x"}', "Auto", "cannot be read as JSON: it is not one JSON"),
    "JSON nested beyond measure": ("rows.json", b"[" * 100_000, "Auto", "cannot be read as JSON"),
    "an object with two lists": ("rows.json", b'{\n"a": [], "b": []}', "JSON", "holds 2 lists, and exactly one"),
    "a number": ("rows.json", b"7", "Auto", "it must be a list of rows"),
    "a table with an open quote": (
        "rows.csv",
        b'text\n"never closed',
        "Auto",
        "cannot be read as CSV: after line 1: unexpected end",
    ),
    "a type that it hasn't": ("rows.jsonl", as_json_lines(ROWS), "JSON", "cannot be read as JSON"),
}


@pytest.mark.parametrize(("name", "content", "file_type", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_at_all_is_named(
    tmp_path: Path, name: str, content: bytes, file_type: str, message: str
) -> None:
    with pytest.raises(BadDatasetError, match=message) as raised:
        list(read_records(stored(tmp_path, name, content), file_type, field="spec.dataset"))
    assert raised.value.field == "spec.dataset"
    assert f"s3://data/{name}" in str(raised.value)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_one_broken_row_does_not_hide_the_others(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    lines = as_json_lines(ROWS).replace(b"\n\n", b"\n") + b'{oops\n[1]\n\xff\n{"text": "x"}'
    records = list(read_records(stored(tmp_path, "rows.jsonl", compress(lines)), "Auto", field="spec.dataset"))
    assert [place for place, _ in records] == [f"line {number}" for number in range(1, 7)]
    assert [getattr(record, "reason", None) for _, record in records] == [
        None,
        None,
        "NotJSON",
        "NotAnObject",
        "NotJSON",
        None,
    ]


def test_a_row_of_a_table_has_as_many_cells_as_the_header(tmp_path: Path) -> None:
    file = stored(tmp_path, "rows.csv", b"prompt,completion\na,b\na\na,b,c\n")
    reasons = [getattr(record, "reason", None) for _, record in read_records(file, "Auto", field="spec.dataset")]
    assert reasons == [None, "Malformed", "Malformed"]


LARGE: dict[str, tuple[bytes, list[object]]] = {
    "a list": (json.dumps(ROWS).encode(), [*ROWS]),
    "a list with a byte order mark": (b"\xef\xbb\xbf" + json.dumps(ROWS).encode(), [*ROWS]),
    "an object with one list": (json.dumps({"version": 1, "of": {"a": [1]}, "data": ROWS}).encode(), [*ROWS]),
    "an object whose list has a name with a dot": (json.dumps({"a.b": ROWS}).encode(), [*ROWS]),
    "numbers, nulls and lists within rows": (
        b'[{"a": 1.5, "b": null, "c": [[2]]}]',
        [{"a": 1.5, "b": None, "c": [[2]]}],
    ),
    "nothing": (b"[]", []),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(("content", "rows"), LARGE.values(), ids=LARGE)
def test_a_large_document_is_read_row_by_row_to_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    rows: list[object],
    compress: Callable[[bytes], bytes],
) -> None:
    file = stored(tmp_path, "rows.json", compress(content))
    at_once = list(read_records(file, "JSON", field="spec.dataset"))
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", 0)
    assert list(read_records(file, "JSON", field="spec.dataset")) == at_once
    assert [record for _, record in at_once] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"text": "x"}', "it is not one JSON document"),
        (b'[{"text": "x"}] 7', "it is not one JSON document"),
        (b'[{"text": "\xff"}]', "it is not one JSON document"),
        (b'{"a": [], "b": []}', "holds 2 lists, and exactly one"),
        (b'{"a": {"b": []}}', "holds 0 lists, and exactly one"),
        (b"7", "it must be a list of rows"),
    ],
)
def test_a_large_document_that_cannot_be_read_is_refused_before_its_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", 0)
    with pytest.raises(BadDatasetError, match=message):
        next(read_records(stored(tmp_path, "rows.json", content), "JSON", field="spec.dataset"))


MISSING: dict[str, tuple[str, bytes]] = {
    "JSON Lines, as pandas writes them": ("rows.jsonl", b'{"prompt": "q", "completion": NaN}\n'),
    "a list": ("rows.json", b'[{"prompt": "q", "completion": NaN}]'),
    "Parquet": ("rows.parquet", parquet_of(pyarrow.table({"prompt": ["q"], "completion": [float("nan")]}))),
}


@pytest.mark.parametrize(("name", "content"), MISSING.values(), ids=MISSING)
def test_what_is_no_number_is_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    """Tables say so of cells that are empty: nobody means the word."""
    ((_, record),) = read_records(stored(tmp_path, name, content), "Auto", field="spec.dataset")
    assert record == {"prompt": "q", "completion": None}


def test_a_row_that_says_two_things_under_one_key_is_left_out(tmp_path: Path) -> None:
    lines = b'{"text": "a", "text": "b"}\n{"text": "a", "text": "a"}\n'
    records = [record for _, record in read_records(stored(tmp_path, "r.jsonl", lines), "Auto", field="spec.dataset")]
    assert (getattr(records[0], "reason", None), records[1]) == ("NotJSON", {"text": "a"})


def test_a_map_of_parquet_is_an_object(tmp_path: Path) -> None:
    cells = pyarrow.array([[("city", "Bern")]], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    file = stored(tmp_path, "rows.parquet", parquet_of(pyarrow.table({"arguments": cells})))
    assert [record for _, record in read_records(file, "Auto", field="spec.dataset")] == [
        {"arguments": {"city": "Bern"}}
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b'"prompt, in full";completion\na, b;c\n'),
        ("rows.tsv", b"prompt, in full\tcompletion\na, b\tc\n"),
        ("rows.csv", b'"prompt, in full","completion"\n"a, b",c\n'),
    ],
)
def test_a_column_may_have_a_comma_in_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    ((_, record),) = read_records(stored(tmp_path, name, content), "Auto", field="spec.dataset")
    assert record == {"prompt, in full": "a, b", "completion": "c"}


def test_a_single_pair_is_not_taken_for_a_list_of_rows(tmp_path: Path) -> None:
    pair = {"prompt": "q", "chosen": "a", "rejected": [{"role": "assistant", "content": "b"}]}
    for content in (json.dumps(pair), json.dumps(pair, indent=1)):
        file = stored(tmp_path, "rows.json", content.encode())
        assert [record for _, record in read_records(file, "Auto", field="spec.dataset")] == [pair]


def test_a_compressed_document_is_read_row_by_row_for_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": "the same words " * 50} for _ in range(40)]
    content = gzip.compress(json.dumps(rows).encode())
    monkeypatch.setattr(record_files, "LARGE_DOCUMENT", len(content) * 10)
    monkeypatch.setattr(record_files, "read_json", lambda text: pytest.fail("all of it was read at once"))
    file = stored(tmp_path, "rows.json.gz", content)
    assert [record for _, record in read_records(file, "Auto", field="spec.dataset")] == rows
