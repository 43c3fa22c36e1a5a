"""Reads the rows of a run and holds some of them out. Knows no tokenizer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft_registry.digests import DIGEST_PREFIX, digest_of, file_sha256
from graft_trainer.config import DatasetConfig
from graft_trainer.formats import Conversation, Example, detect_format, to_example
from graft_trainer.outcome import BadDatasetError
from graft_trainer.sources import DataFetcher, Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The examples of a run and what identifies them."""

    uri: str
    digest: str
    evaluation_digest: str
    training: tuple[Example, ...]
    evaluation: tuple[Example, ...]


def load_dataset(config: DatasetConfig, fetcher: DataFetcher, *, seed: int) -> Dataset:
    """Fetch, check and split the dataset.

    Raises BadDatasetError where a row cannot be used, the digest differs or nothing is left to train on.
    """
    fetched = fetcher.fetch(config.source, field="spec.dataset")
    digest = DIGEST_PREFIX + file_sha256(fetched.path)
    if config.digest is not None and config.digest != digest:
        raise BadDatasetError(
            f"{fetched.uri} has digest {digest} but the run was made for {config.digest}: the data changed in "
            "between; the operator starts a new run when it sees the change",
            field="spec.dataset",
        )
    rows = read_examples(fetched, config.format, field="spec.dataset")
    if config.evaluation.source is not None:
        held_out_file = fetcher.fetch(config.evaluation.source, field="spec.dataset.evaluation")
        training = rows
        held_out = read_examples(held_out_file, config.format, field="spec.dataset.evaluation")
    else:
        training, held_out = split(rows, percent=config.evaluation.split_percent or 0, seed=seed)
    if not training:
        raise BadDatasetError(
            f"{fetched.uri} has {len(rows)} rows, which leaves none to train on; add rows or lower "
            "spec.dataset.evaluationPercent",
            field="spec.dataset",
        )
    return Dataset(
        uri=fetched.uri,
        digest=digest,
        evaluation_digest=digest_of([_as_json(example) for example in held_out]),
        training=tuple(training),
        evaluation=tuple(held_out),
    )


def split(rows: Sequence[Example], *, percent: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Hold out ``percent`` of the rows, at least one, chosen by the seed; both parts keep the order of the rows."""
    if percent == 0:
        return list(rows), []
    count = max(1, round(len(rows) * percent / 100))
    # Not for secrets: the same seed has to choose the same rows.
    chosen = set(random.Random(seed).sample(range(len(rows)), min(count, len(rows))))  # noqa: S311
    training = [row for index, row in enumerate(rows) if index not in chosen]
    held_out = [row for index, row in enumerate(rows) if index in chosen]
    return training, held_out


def read_examples(fetched: Fetched, format_name: str, *, field: str) -> list[Example]:
    """Read a JSON Lines file; blank lines are skipped.

    ``format_name`` of Auto takes the format of the first row for all of them.
    Raises BadDatasetError with the line number of the first bad row.
    """
    examples: list[Example] = []
    for number, record in _records(fetched, field):
        try:
            if format_name == "Auto":
                format_name = detect_format(record)
            examples.append(to_example(record, format_name))
        except ValueError as error:
            raise BadDatasetError(f"{fetched.uri} line {number}: {error}", field=field) from error
    if not examples:
        raise BadDatasetError(f"{fetched.uri} has no rows; put one JSON object on each line", field=field)
    return examples


def _records(fetched: Fetched, field: str) -> list[tuple[int, dict[str, Any]]]:
    records = []
    for number, line in enumerate(_lines(fetched.path, fetched.uri, field), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise BadDatasetError(
                f"{fetched.uri} line {number} is not JSON ({error}); the file must be JSON Lines, one object per line",
                field=field,
            ) from error
        if not isinstance(record, dict):
            raise BadDatasetError(f"{fetched.uri} line {number} must be a JSON object", field=field)
        records.append((number, record))
    return records


def _lines(path: Path, uri: str, field: str) -> list[str]:
    try:
        # Not splitlines(): JSON strings may hold U+2028, which it would cut at.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadDatasetError(f"{uri} is not UTF-8 text ({error})", field=field) from error


def _as_json(example: Example) -> Any:
    if isinstance(example, Conversation):
        return [message.as_dict() for message in example.messages]
    return example.text
