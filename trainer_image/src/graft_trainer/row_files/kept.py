"""Rows as tokens in the registry, so that whoever would prepare the same begins at once.

That is the next pod of a run, its other workers, and the next run with other hyperparameters. What is missing or
damaged there is prepared anew.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import TypeAdapter, ValidationError

from graft_registry.digests import digest_of
from graft_registry.documents import BaseManifest
from graft_registry.errors import RegistryError
from graft_registry.runs.prepared_rows import PreparedRowsStore
from graft_registry.s3.store import ObjectStore
from graft_trainer.base import day_of
from graft_trainer.config import RunConfig
from graft_trainer.data.conversation import Example, Pair
from graft_trainer.data.dataset import Dataset, FetchedSets, SetCount, read_sets, sets_of
from graft_trainer.data.dropped_rows import DropTally
from graft_trainer.data.rows import RenderedRows, Row, Sample
from graft_trainer.data.unknown import UnknownTally
from graft_trainer.dataset_config import SetsIdentity, pinned_sets
from graft_trainer.preferences.rendering import StoredPreferences
from graft_trainer.row_files.examples import StoredExamples, store_examples
from graft_trainer.row_files.tokens import StoredRows

logger = logging.getLogger(__name__)

RENDERING: Final = 4
"""Raised when a change of ours makes other tokens of the same rows."""

WORTH_KEEPING: Final = 16 << 20
"""Bytes of files from which on their rows are kept: fewer are read and rendered in the time of a download."""

KEPT: Final = 2
"""Preparations that are kept of an adapter: the newest, and the one before, to which a spec may go back."""

TRAINING, EVALUATION, QUESTIONS = "training", "evaluation", "questions"
"""Folders of rows, and of the examples that questions are made of."""
FACTS_FILE: Final = "facts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """What is known of rendered rows beside themselves."""

    truncated: int
    dropped: DropTally
    samples: tuple[Sample, ...]
    masked_answers: int
    unknown: UnknownTally


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a dataset and its rows beside themselves."""

    uri: str
    digest: str
    evaluation_digest: str
    dropped: DropTally
    leaked: int
    unused: dict[str, int]
    sets: tuple[SetCount, ...]
    paired: bool
    """Whether the rows are of pairs, for an objective that compares."""
    training: PartFacts
    evaluation: PartFacts


FACTS: Final = TypeAdapter(Facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRows:
    """A dataset with its rows as tokens. Of the training rows the examples are only kept where nothing is held out."""

    dataset: Dataset
    training: RenderedRows
    evaluation: RenderedRows

    @property
    def asked(self) -> RenderedRows:
        """The rows that questions are made of.

        Without held-out rows they come from the training rows: they can still prove that the adapter is applied.
        """
        return self.evaluation if self.evaluation.rows else self.training


class KeptRows:
    """The rows of one preparation in the registry."""

    def __init__(self, store: PreparedRowsStore, digest: str, config: RunConfig) -> None:
        self._store = store
        self._digest = digest
        self._compares = config.training.objective != "SFT"
        self._max_length = config.training.max_sequence_length

    def exist(self) -> bool:
        """Whether there seem to be some."""
        try:
            return self._store.has(self._digest)
        except RegistryError as error:
            logger.warning("nobody knows whether prepared rows are kept: %s", error)
            return False

    def restore(self, folder: Path) -> PreparedRows | None:
        """Bring them into ``folder``; None where there are none that can be used."""
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if not self._store.restore(self._digest, folder):
                return None
            rows = self._read(folder)
        except RegistryError as error:
            logger.warning("prepared rows were not fetched: %s", error)
            return None
        except (OSError, EOFError, ValidationError, ValueError) as error:
            logger.warning("prepared rows can't be used, and are made anew: %s", error)
            return None
        logger.info(
            "rows are prepared already: %d to train on, %d held out", len(rows.training.rows), len(rows.evaluation.rows)
        )
        return rows

    def keep(self, folder: Path, rows: PreparedRows) -> bool:
        """Store what was prepared in ``folder``; whether it is there then. Without it a run goes on all the same."""
        dataset, examples = rows.dataset, rows.asked.examples
        store_examples(examples, folder / QUESTIONS)
        facts = Facts(
            uri=dataset.uri,
            digest=dataset.digest,
            evaluation_digest=dataset.evaluation_digest,
            dropped=dataset.dropped,
            leaked=dataset.leaked,
            unused=dataset.unused,
            sets=dataset.sets,
            paired=isinstance(examples[0], Pair),
            training=_facts(rows.training),
            evaluation=_facts(rows.evaluation),
        )
        (folder / FACTS_FILE).write_bytes(FACTS.dump_json(facts))
        if not rows.evaluation.rows:
            shutil.rmtree(folder / EVALUATION, ignore_errors=True)
        try:
            self._store.save(self._digest, folder)
            self._store.prune(KEPT)
        except RegistryError as error:
            logger.warning("prepared rows are not kept: %s", error)
            return False
        logger.info("prepared rows are kept for the next run")
        return True

    def _read(self, folder: Path) -> PreparedRows:
        facts = FACTS.validate_json((folder / FACTS_FILE).read_bytes())
        training = self._part(folder / TRAINING, facts.training, facts.paired)
        evaluation = self._part(folder / EVALUATION, facts.evaluation, facts.paired)
        questions = StoredExamples(folder / QUESTIONS)
        held_out = bool(evaluation)
        dataset = Dataset(
            uri=facts.uri,
            digest=facts.digest,
            evaluation_digest=facts.evaluation_digest,
            training=(),
            evaluation=(),
            dropped=facts.dropped,
            leaked=facts.leaked,
            unused=facts.unused,
            sets=facts.sets,
        )
        return PreparedRows(
            dataset=dataset,
            training=_rendered(training, () if held_out else questions, facts.training),
            evaluation=_rendered(evaluation, questions if held_out else (), facts.evaluation),
        )

    def _part(self, folder: Path, facts: PartFacts, paired: bool) -> Sequence[Row]:
        if not folder.exists():
            return ()
        rows = StoredRows(folder)
        if not rows.is_whole():
            raise ValueError(f"files of {folder.name} rows don't go together")
        return StoredPreferences(rows, paired=paired, max_length=self._max_length) if self._compares else rows


class BetweenRows(Protocol):
    """What happens between two rows, now and then."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Take how many rows have been read, or rendered of a ``total``; raise to stop where the pod is asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """What a run has of its rows before anything heavy is imported."""

    fetch: Callable[[], FetchedSets]
    """Brings the files, once; nobody needs them where rows of them are kept and they are known without."""
    dataset: Dataset | None
    """What was read of the files; None where they are not to be read unless nobody keeps rows of them."""
    kept: KeptRows | None
    """Where rows are kept that take long to prepare."""
    between: BetweenRows


def kept_rows(config: RunConfig, fetched: FetchedSets, base: BaseManifest, store: ObjectStore) -> KeptRows | None:
    """Return where the rows of a run are kept; None where they are so few that they aren't."""
    if fetched.size < WORTH_KEEPING:
        return None
    own = fetched.evaluation
    identity = SetsIdentity(
        training=tuple((one.uri, one.digest) for one in fetched.training),
        evaluation=(own.uri, own.digest) if own else None,
    )
    return _kept(config, identity, base, store)


def pinned_rows(config: RunConfig, base: BaseManifest, store: ObjectStore) -> KeptRows | None:
    """Return the kept rows of a run that are there and known without its files; None where either is not so."""
    identity = pinned_sets(config.rows)
    kept = _kept(config, identity, base, store) if identity is not None else None
    return kept if kept is not None and kept.exist() else None


def _kept(config: RunConfig, identity: SetsIdentity, base: BaseManifest, store: ObjectStore) -> KeptRows:
    digest = preparation_digest(config, identity, base)
    return KeptRows(PreparedRowsStore(store, config.namespace, config.adapter), digest, config)


def read_rows(config: RunConfig, fetched: FetchedSets, between_rows: BetweenRows) -> Dataset:
    """Read a run's files, as its objective wants them. Raises BadDatasetError."""
    return read_sets(
        config.rows,
        fetched,
        seed=config.training.seed,
        objective=config.training.objective,
        between_rows=between_rows,
    )


def preparation_digest(config: RunConfig, identity: SetsIdentity, base: BaseManifest) -> str:
    """Return the digest of all that decides which tokens a run's rows become."""
    fingerprint, training, dataset = base.fingerprint, config.training, config.rows
    return digest_of(
        {
            "rendering": [RENDERING, version("transformers"), version("tokenizers")],
            "sets": [
                [uri, digest, one.weight, _shape(one)]
                for (uri, digest), (_, one) in zip(identity.training, sets_of(dataset), strict=True)
            ],
            "evaluation": list(identity.evaluation) if identity.evaluation else dataset.evaluation.split_percent,
            "maxDroppedPercent": dataset.max_dropped_percent,
            "seed": training.seed,
            "objective": training.objective,
            "maxSequenceLength": training.max_sequence_length,
            "trainOnInputs": training.train_on_inputs,
            "tokenizer": fingerprint.tokenizer_digest,
            "chatTemplate": fingerprint.chat_template_digest,
            "vocabulary": fingerprint.vocab_size,
            # Which tokens end an answer is part of it.
            "behaviour": fingerprint.behaviour_digest or base.digest,
            "today": day_of(base).isoformat(),
        }
    )


def _shape(one: Any) -> list[Any]:
    return [one.format, one.file_type, one.columns]


def _facts(rows: RenderedRows) -> PartFacts:
    return PartFacts(
        truncated=rows.truncated,
        dropped=rows.dropped,
        samples=rows.samples,
        masked_answers=rows.masked_answers,
        unknown=rows.unknown,
    )


def _rendered(rows: Sequence[Row], examples: Sequence[Example], facts: PartFacts) -> RenderedRows:
    return RenderedRows(
        rows=rows,
        examples=examples,
        truncated=facts.truncated,
        dropped=facts.dropped,
        samples=facts.samples,
        masked_answers=facts.masked_answers,
        unknown=facts.unknown,
    )
