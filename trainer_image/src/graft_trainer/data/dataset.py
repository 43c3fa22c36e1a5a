"""Reads the rows of a run and holds some of them out. Knows no tokenizer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from graft_registry.digests import digest_of
from graft_trainer.config import DatasetConfig, DataSource, Objective
from graft_trainer.data.conversation import Example
from graft_trainer.data.dropped_rows import DropTally, UnusableRowError, check_limit
from graft_trainer.data.formats import with_columns
from graft_trainer.data.preferences import READINGS
from graft_trainer.data.record_files import read_records
from graft_trainer.data.sources import DataFetcher, Fetched
from graft_trainer.outcome import BadDatasetError

ROWS_AT_A_TIME = 1000
"""Rows that are read before anybody looks whether the pod has to stop."""

MOST_UNUSED = 20
"""Unused keys that are told; a set whose keys are words of their own would tell thousands."""


@dataclass(slots=True, kw_only=True)
class Dataset:
    """The examples of a run and what identifies them."""

    uri: str
    digest: str
    evaluation_digest: str
    training: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    dropped: DropTally = field(default_factory=DropTally)
    """Rows of both parts that could not be read."""
    leaked: int = 0
    """Evaluation rows that were left out because they are training rows, too."""
    unused: dict[str, int] = field(default_factory=dict)
    """Keys of rows and turns that nothing is made of, with the number of rows that have them."""

    def take_rows(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Hand over the training and the evaluation rows, and keep none: as text they take more than as tokens."""
        taken = self.training, self.evaluation
        self.training, self.evaluation = (), ()
        return taken

    def __str__(self) -> str:
        """Say how many rows there are, in one line."""
        parts = [f"{len(self.training)} training rows", f"{len(self.evaluation)} held out"]
        if self.dropped.total:
            parts.append(f"{self.dropped.total} dropped: {self.dropped}")
        if self.leaked:
            parts.append(f"{self.leaked} left out of the evaluation because they are training rows, too")
        if self.unused:
            keys = ", ".join(f"{key} ({count} rows)" for key, count in self.unused.items())
            parts.append(f"not used: {keys}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read from one source."""

    fetched: Fetched
    examples: list[Example] = field(default_factory=list)
    dropped: DropTally = field(default_factory=DropTally)
    unused: Counter[str] = field(default_factory=Counter)


def load_dataset(
    config: DatasetConfig,
    fetcher: DataFetcher,
    *,
    seed: int,
    objective: Objective = "SFT",
    between_rows: Callable[[], None] = lambda: None,
) -> Dataset:
    """Fetch, check and split the dataset. ``between_rows`` is called now and then, and may raise to stop.

    Raises BadDatasetError where a source cannot be read, too many rows cannot be used, a digest differs or nothing is
    left to train on.
    """
    load = partial(_load, config, fetcher, objective, between_rows)
    rows = load(config.source, config.digest, field="spec.dataset")
    dropped, unused = rows.dropped, rows.unused
    if config.evaluation.source is not None:
        own = load(config.evaluation.source, config.evaluation.digest, field="spec.dataset.evaluation")
        training, held_out = rows.examples, own.examples
        dropped, unused = dropped + own.dropped, unused + own.unused
    else:
        training, held_out = split(rows.examples, percent=config.evaluation.split_percent or 0, seed=seed)
    if not training:
        raise BadDatasetError(
            f"{rows.fetched.uri} has {len(rows.examples)} rows, which leaves none to train on; add rows or lower "
            "spec.dataset.evaluationPercent",
            field="spec.dataset",
        )
    evaluation = without_training_rows(held_out, training)
    return Dataset(
        uri=rows.fetched.uri,
        digest=rows.fetched.digest,
        evaluation_digest=digest_of([example.content() for example in evaluation]),
        training=tuple(training),
        evaluation=tuple(evaluation),
        dropped=dropped,
        leaked=len(held_out) - len(evaluation),
        unused=dict(sorted(unused.items(), key=lambda item: (-item[1], item[0]))[:MOST_UNUSED]),
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


def without_training_rows(held_out: Sequence[Example], training: Sequence[Example]) -> list[Example]:
    """Leave out of the evaluation what was learned by heart: it would look better than anything new.

    Raises BadDatasetError where nothing would be left.
    """
    known = set(training) if held_out else set()
    remaining = [row for row in held_out if row not in known]
    if held_out and not remaining:
        raise BadDatasetError(
            f"each of the {len(held_out)} evaluation rows is a training row, too; give evaluation rows of their own, "
            "or remove duplicates from the training rows",
            field="spec.dataset.evaluation",
        )
    return remaining


def read_examples(
    fetched: Fetched,
    config: DatasetConfig,
    *,
    field: str,
    objective: Objective = "SFT",
    between_rows: Callable[[], None] = lambda: None,
) -> Rows:
    """Read all rows of all files, leaving out those that cannot be used.

    A format of Auto takes that of the first row that has one for all of them.
    Raises BadDatasetError where a file as a whole cannot be read, or nothing is in them.
    """
    rows, reading = Rows(fetched), READINGS[objective]
    format_name: str = config.format
    for file in fetched.files:
        for position, record in read_records(file, config.file_type, field=field):
            if (len(rows.examples) + rows.dropped.total) % ROWS_AT_A_TIME == 0:
                between_rows()
            place = f"{file.uri} {position}"
            try:
                if isinstance(record, UnusableRowError):
                    raise record
                row = with_columns(record, config.columns)
                if format_name == "Auto":
                    format_name = reading.detect(row)
                rows.examples.append(reading.convert(row, format_name, place=place))
                rows.unused.update(reading.unused(row, format_name))
            except UnusableRowError as error:
                rows.dropped.add(place, error)
    if not rows.examples and not rows.dropped.total:
        raise BadDatasetError(f"{fetched.uri} has no rows; put one JSON object on each line", field=field)
    return rows


def _load(
    config: DatasetConfig,
    fetcher: DataFetcher,
    objective: Objective,
    between_rows: Callable[[], None],
    source: DataSource,
    digest: str | None,
    *,
    field: str,
) -> Rows:
    fetched = fetcher.fetch(source, field=field)
    if digest is not None and digest != fetched.digest:
        raise BadDatasetError(
            f"{fetched.uri} has digest {fetched.digest} but the run was made for {digest}: the data changed in "
            "between; correct the digest, or wait for the operator to see the change",
            field=field,
        )
    rows = read_examples(fetched, config, field=field, objective=objective, between_rows=between_rows)
    check_limit(
        rows.dropped,
        len(rows.examples) + rows.dropped.total,
        max_percent=config.max_dropped_percent,
        field=field,
        fix="Mend or remove the rows, or set spec.dataset.format or fileType to what they are",
    )
    return rows
