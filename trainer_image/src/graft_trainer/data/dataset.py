"""Reads the rows of a run, mixes sets and holds some rows out. Knows no tokenizer.

What is read goes to disk; only numbers of rows are held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from graft_registry.digests import digest_of, digest_of_items
from graft_trainer.config import Objective
from graft_trainer.data.conversation import Example
from graft_trainer.data.dropped_rows import DropTally, UnusableRowError, check_limit, how_to_mend
from graft_trainer.data.fields.columns import as_told, naming_missing_column, with_columns
from graft_trainer.data.files.record_files import read_records
from graft_trainer.data.files.sources import DataFetcher, Fetched
from graft_trainer.data.formats import Record
from graft_trainer.data.preferences import READINGS, Reading
from graft_trainer.dataset_config import DatasetConfig, DataSource, MixedSet, RowShape
from graft_trainer.outcome import BadDatasetError
from graft_trainer.row_files.choice import mixed, split
from graft_trainer.row_files.examples import ExampleWriter, Numbers, StoredExamples

ROWS_AT_A_TIME = 1000
"""Rows that are read before anybody looks whether the pod has to stop."""

MOST_UNUSED = 20
"""Unused keys that are told; a set whose keys are words of their own would tell thousands."""

MOST_COUNTED = 10_000
"""Unused keys that are counted."""

FIELD = "spec.dataset"
EVALUATION_FIELD = "spec.dataset.evaluation"


@dataclass(frozen=True, slots=True)
class SetCount:
    """How much of one of several sets is in the mix."""

    uri: str
    digest: str
    weight: float
    rows: int
    """Rows that were taken."""
    usable: int
    """Rows that there were to take."""


@dataclass(slots=True, kw_only=True)
class Dataset:
    """The examples of a run and what identifies them."""

    uri: str
    digest: str
    evaluation_digest: str
    training: Sequence[Example]
    evaluation: Sequence[Example]
    dropped: DropTally = field(default_factory=DropTally)
    """Rows of all parts that could not be read."""
    leaked: int = 0
    """Evaluation rows that were left out because they are training rows, too."""
    unused: dict[str, int] = field(default_factory=dict)
    """Keys of rows and turns that nothing is made of, with the number of rows that have them."""
    sets: tuple[SetCount, ...] = ()
    """The sets that are mixed, where there are several."""

    def __str__(self) -> str:
        """Say how many rows there are, in one line."""
        parts = [f"{len(self.training)} training rows", f"{len(self.evaluation)} held out"]
        parts += [f"{one.rows} of {one.usable} rows of {one.uri}" for one in self.sets]
        if self.dropped.total:
            parts.append(f"{self.dropped.total} dropped: {self.dropped}")
        if self.leaked:
            parts.append(f"{self.leaked} left out of the evaluation because they are training rows, too")
        if self.unused:
            keys = ", ".join(f"{key} ({count} rows)" for key, count in self.unused.items())
            parts.append(f"not used: {keys}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedSets:
    """The files of a run: of its sets, in the order of the spec, and of rows of their own for evaluation."""

    training: tuple[Fetched, ...]
    evaluation: Fetched | None
    folder: Path
    """Where there is room for what is read."""

    def digest(self, weights: Sequence[float]) -> str:
        """Return the digest of the one set, or of those of several with their weights."""
        if len(self.training) == 1:
            return self.training[0].digest
        return digest_of([[one.digest, weight] for one, weight in zip(self.training, weights, strict=True)])

    @property
    def size(self) -> int:
        """How many bytes they have, compressed as they are."""
        fetched = [*self.training, *([self.evaluation] if self.evaluation else [])]
        return sum(file.path.stat().st_size for one in fetched for file in one.files)


@dataclass(slots=True)
class Counted:
    """What was left over of rows that were read."""

    dropped: DropTally = field(default_factory=DropTally)
    unused: Counter[str] = field(default_factory=Counter)

    def count(self, unused: set[str]) -> None:
        """Count a row's unused keys."""
        unused = set(map(as_told, unused))
        self.unused.update(unused if len(self.unused) < MOST_COUNTED else unused & self.unused.keys())


def load_dataset(
    config: DatasetConfig,
    fetcher: DataFetcher,
    *,
    seed: int,
    objective: Objective = "SFT",
    between_rows: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Fetch, check and split the dataset. ``between_rows`` is told now and then how many rows have been read, and may
    raise to stop.

    Raises BadDatasetError where a source cannot be read, too many rows cannot be used, a digest differs or nothing is
    left to train on.
    """
    return read_sets(config, fetch_sets(config, fetcher), seed=seed, objective=objective, between_rows=between_rows)


def fetch_sets(config: DatasetConfig, fetcher: DataFetcher) -> FetchedSets:
    """Bring all files to the local disk. Raises BadDatasetError where one is missing, or not what its digest says."""
    training = []
    for field_name, one in sets_of(config):
        training.append(_fetched(fetcher, one.source, one.digest, field_name))
    own, evaluation = config.evaluation, None
    if own.source is not None:
        evaluation = _fetched(fetcher, own.source, own.digest, EVALUATION_FIELD)
    return FetchedSets(training=tuple(training), evaluation=evaluation, folder=fetcher.folder)


def sets_of(config: DatasetConfig) -> list[tuple[str, DatasetConfig | MixedSet]]:
    """Return the sets to learn from, each with its field of the spec."""
    return [(FIELD, config), *((f"{FIELD}.mix[{number}]", one) for number, one in enumerate(config.mix))]


def read_sets(
    config: DatasetConfig,
    fetched: FetchedSets,
    *,
    seed: int,
    objective: Objective = "SFT",
    between_rows: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Read, mix and split what has been fetched; everything else is as with `load_dataset`."""
    read = partial(_read, max_percent=config.max_dropped_percent, objective=objective, between_rows=between_rows)
    sets, counted, counts = sets_of(config), Counted(), []
    with ExampleWriter(fetched.folder / "examples") as writer:
        for (field_name, one), files in zip(sets, fetched.training, strict=True):
            counts.append(read(files, one, writer, counted, field=field_name))
    taken = mixed(counts, [one.weight for _, one in sets], seed=seed)
    if fetched.evaluation is not None:
        with ExampleWriter(fetched.folder / "evaluation-examples") as own:
            read(fetched.evaluation, config, own, counted, field=EVALUATION_FIELD)
        training, held_out = taken, StoredExamples(own.folder)
    else:
        training, rest = split(taken, percent=config.evaluation.split_percent or 0, seed=seed)
        held_out = StoredExamples(writer.folder, rest)
    if not len(training):
        _refuse_nothing(fetched.training[0].uri, sum(counts))
    examples = StoredExamples(writer.folder, training)
    evaluation = without_training_rows(held_out, examples)
    return Dataset(
        uri=fetched.training[0].uri,
        digest=fetched.digest([one.weight for _, one in sets]),
        evaluation_digest=digest_of_items(example.content() for example in evaluation),
        training=examples,
        evaluation=evaluation,
        dropped=counted.dropped,
        leaked=len(held_out) - len(evaluation),
        unused=dict(sorted(counted.unused.items(), key=lambda item: (-item[1], item[0]))[:MOST_UNUSED]),
        sets=_counts(config, fetched, counts, taken),
    )


def without_training_rows(held_out: StoredExamples, training: StoredExamples) -> StoredExamples:
    """Leave out of the evaluation what was learned by heart: it would look better than anything new.

    Raises BadDatasetError where nothing would be left.
    """
    remaining = held_out.without(training)
    if held_out and not remaining:
        raise BadDatasetError(
            f"each of the {len(held_out)} evaluation rows is a training row, too; give evaluation rows of their own, "
            "or remove duplicates from the training rows",
            field=EVALUATION_FIELD,
        )
    return remaining


def _refuse_nothing(uri: str, rows: int) -> NoReturn:
    raise BadDatasetError(
        f"{uri} has {rows} rows, which leaves none to train on; add rows or lower spec.dataset.evaluationPercent",
        field=FIELD,
    )


def _fetched(fetcher: DataFetcher, source: DataSource, digest: str | None, field: str) -> Fetched:
    fetched = fetcher.fetch(source, field=field)
    if digest is not None and digest != fetched.digest:
        raise BadDatasetError(
            f"{fetched.uri} has digest {fetched.digest} but the run was made for {digest}: the data changed in "
            "between; correct the digest, or wait for the operator to see the change",
            field=field,
        )
    return fetched


def _counts(config: DatasetConfig, fetched: FetchedSets, usable: Sequence[int], taken: Numbers) -> tuple[SetCount, ...]:
    """Return how much of each set is in a mix, None of them where there is no mix."""
    if not config.mix:
        return ()
    ends = np.cumsum(usable)
    rows = np.diff(np.searchsorted(np.sort(taken), ends), prepend=0).tolist()
    sets = zip(fetched.training, sets_of(config), rows, usable, strict=True)
    return tuple(SetCount(files.uri, files.digest, one.weight, count, of) for files, (_, one), count, of in sets)


def _read(
    fetched: Fetched,
    shape: RowShape,
    writer: ExampleWriter,
    counted: Counted,
    *,
    max_percent: int,
    field: str,
    objective: Objective,
    between_rows: Callable[[int], None],
) -> int:
    """Read all rows of all files, leaving out those that cannot be used; return how many can.

    A format of Auto takes that of the first row that has one for all of them.
    Raises BadDatasetError where a file as a whole cannot be read, too many rows can't be used, or nothing is in them.
    """
    reader, before, dropped = _Reader(shape, READINGS[objective], writer, counted), writer.count, DropTally()
    for file in fetched.files:
        for position, record in read_records(file, shape.file_type, field=field):
            if (writer.count - before + dropped.total) % ROWS_AT_A_TIME == 0:
                between_rows(writer.count + counted.dropped.total + dropped.total)
            place = f"{file.uri} {position}"
            try:
                reader.add(record, place)
            except UnusableRowError as error:
                dropped.add(place, error)
    rows = writer.count - before
    if not rows and not dropped.total:
        raise BadDatasetError(f"{fetched.uri} has no rows; put one JSON object on each line", field=field)
    check_limit(
        dropped,
        rows + dropped.total,
        max_percent=max_percent,
        field=field,
        fix=how_to_mend(dropped, has_columns=bool(shape.columns)),
    )
    counted.dropped += dropped
    return rows


class _Reader:
    """Makes examples of the records of one set."""

    def __init__(self, shape: RowShape, reading: Reading, writer: ExampleWriter, counted: Counted) -> None:
        self._columns = shape.columns
        self._format: str = shape.format
        self._reading = reading
        self._writer = writer
        self._counted = counted

    def add(self, record: Record | UnusableRowError, place: str) -> None:
        """Write the example that a record is. Raises UnusableRowError."""
        if isinstance(record, UnusableRowError):
            raise record
        row = with_columns(record, self._columns)
        with naming_missing_column(record, self._columns):
            if self._format == "Auto":
                self._format = self._reading.detect(row)
            example = self._reading.convert(row, self._format, place=place)
        self._writer.add(example)
        self._counted.count(self._reading.unused(row, self._format))
