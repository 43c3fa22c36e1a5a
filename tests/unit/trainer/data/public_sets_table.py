"""The table of docs/datasets.md, from what is read of the files of public sets.

``python -m tests.unit.trainer.data.public_sets_table`` writes it.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.unit.trainer.data.public_sets import FILES, MENDED, PARQUET, READ, REFUSED, TEXTS, A, Q

from graft_registry.config import RegistryConfig
from graft_trainer.data.conversation import Example, Text
from graft_trainer.data.dataset import load_dataset
from graft_trainer.data.fields.columns import with_columns
from graft_trainer.data.files.record_files import DataFile, read_records
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.data.formats import detect_format
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.outcome import BadDatasetError

PAGE = Path(__file__).parents[4] / "docs/datasets.md"
BEGIN, END = "<!-- read by the tests: begin -->", "<!-- read by the tests: end -->"
OF_FIRST_ROW = re.compile(r" (?:line \d+|row 1): (.*?)(?:; \S+ (?:line|row) \d+: |$)")
"""What is wrong with the first of the rows that a refusal shows, and what to do."""
OTHER_WORDS = {Q: "how high is it", A: "a mile and a half"}


@dataclass(frozen=True, slots=True)
class SetRead:
    """What has become of a set's file."""

    name: str
    file: str
    columns: tuple[str, ...]
    settings: dict[str, Any]
    read_as: str
    examples: tuple[Example, ...]
    refusal: str
    """Why it is refused as it is."""


def records() -> dict[str, dict[str, Any]]:
    """Return a row of each set."""
    made: dict[str, dict[str, Any]] = {**TEXTS}
    made |= {name: record for name, (record, _) in READ.items()}
    made |= {name: record for name, (record, _, _) in REFUSED.items()}
    return made


def read_set(name: str, folder: Path) -> SetRead:
    """Write a few rows of a set into a file as the hub has it, and read that as a run would."""
    record, file, settings = records()[name], FILES.get(name, PARQUET), MENDED.get(name, {})
    path = folder / file
    write([record, _in_other_words(record), record | _another(record)], path)
    refusal = _load(path, {}).refusal if name in REFUSED else ""
    read = _load(path, settings)
    return SetRead(name, file, tuple(record), settings, read.read_as, read.examples, refusal or read.refusal)


@dataclass(frozen=True, slots=True)
class _Loaded:
    read_as: str = ""
    examples: tuple[Example, ...] = ()
    refusal: str = ""


def _load(path: Path, settings: dict[str, Any]) -> _Loaded:
    objective, columns = settings.get("objective", "SFT"), settings.get("columns", {})
    source = {"file": {"path": str(path), "uri": path.name}}
    config = DatasetConfig.model_validate({"source": source, "columns": columns, "evaluation": {"splitPercent": 0}})
    fetcher = DataFetcher(RegistryConfig(bucket="none"), path.parent / "read")
    try:
        dataset = load_dataset(config, fetcher, seed=1, objective=objective)
    except BadDatasetError as error:
        return _Loaded(refusal=str(error))
    examples = tuple(dataset.training)
    if objective != "SFT":
        return _Loaded(f"preferences, with objective {objective}", examples)
    return _Loaded(_format(examples, path, columns), examples)


def _format(examples: tuple[Example, ...], path: Path, columns: dict[str, str]) -> str:
    if isinstance(examples[0], Text):
        return "Text"
    _, record = next(iter(read_records(DataFile(path, path.name), "Auto", field="spec.dataset")))
    assert not isinstance(record, Exception)
    return detect_format(with_columns(record, columns))


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as the type that a file's name says, Parquet with the types that Arrow finds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    else:
        lines = "\n".join(map(json.dumps, rows)).encode()
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def _in_other_words(value: Any) -> Any:
    """Return a row that says something else in the same places."""
    if isinstance(value, dict):
        return {key: _in_other_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_other_words(item) for item in value]
    return OTHER_WORDS.get(value, value) if isinstance(value, str) else value


def _another(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a third row has of its own: one more question and answer where the set has turns."""
    turns = next(
        (key for key in ("messages", "conversations", "conversation") if isinstance(record.get(key), list)), None
    )
    return {} if turns is None else {turns: [*record[turns], *_in_other_words(record[turns])[-2:]]}


def table(folder: Path) -> str:
    """Return the table of all sets."""
    lines = ["| set | file | columns | read as |", "|---|---|---|---|"]
    for number, name in enumerate(sorted(records(), key=str.lower)):
        found = read_set(name, folder / str(number))
        columns = ", ".join(f"`{column}`" for column in found.columns)
        lines.append(f"| {found.name} | `{found.file}` | {columns} | {_verdict(found)} |")
    return "\n".join(lines)


def _verdict(found: SetRead) -> str:
    if not found.read_as:
        why = OF_FIRST_ROW.search(found.refusal)
        return f"**refused**: {why.group(1) if why else found.refusal}"
    mapping = found.settings.get("columns")
    if mapping:
        named = ", ".join(f"{ours}: {theirs}" for ours, theirs in mapping.items())
        return f"{found.read_as}, with `columns: {{{named}}}`"
    return found.read_as


def on_page() -> str:
    """Return the table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write_page() -> None:
    """Replace the table of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    with TemporaryDirectory() as folder:
        made = table(Path(folder))
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write_page()
    sys.exit(0)
