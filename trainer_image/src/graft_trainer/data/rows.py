"""Rendered rows: what they hold, how many were left out, and what a few of them look like."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from graft_trainer.data.conversation import Example
from graft_trainer.data.dropped_rows import DropReason, DropTally
from graft_trainer.data.unknown import UnknownTally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]

IGNORED = -100
"""The label that the loss leaves out (PyTorch's cross-entropy default)."""

AnyExample = TypeVar("AnyExample", bound=Example)
AnyRow = TypeVar("AnyRow", bound="Row")

SAMPLES = 3
"""Rows that are shown as they were trained."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rendered example: its tokens, and the spans of them that are learned. Four bytes a token."""

    tokens: array[int]
    answers: tuple[Span, ...]
    truncated: bool = False

    @classmethod
    def labelled(cls, input_ids: Sequence[int], labels: Sequence[int], *, truncated: bool = False) -> Row:
        """Make a row of as many labels as tokens, of which those that aren't ``IGNORED`` are learned."""
        spans: list[Span] = []
        for position, label in enumerate(labels):
            if label == IGNORED:
                continue
            if spans and spans[-1][1] == position:
                spans[-1] = (spans[-1][0], position + 1)
            else:
                spans.append((position, position + 1))
        return cls(array("i", input_ids), tuple(spans), truncated)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)

    @property
    def input_ids(self) -> list[int]:
        """The tokens as a list."""
        return self.tokens.tolist()

    @property
    def labels(self) -> list[int]:
        """As many labels: the tokens themselves within answers, else ``IGNORED``."""
        labels = [IGNORED] * len(self.tokens)
        for start, end in self.answers:
            labels[start:end] = self.tokens[start:end].tolist()
        return labels

    @property
    def fully_masked(self) -> bool:
        """Whether nothing would be learned from the row (the first label is never predicted)."""
        return all(end <= max(start, 1) for start, end in self.answers)


@dataclass(frozen=True, slots=True)
class PreferenceRow(Row):
    """One rendered preference: the row of an answer, and the row that its likelihood is compared with."""

    other: Row = field(kw_only=True)
    """Of a pair, the rejected answer; of a labelled answer, its prompt with the answer of another row."""
    wanted: bool = True
    """Whether the answer is one to give; the chosen one of a pair always is."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendered row, special tokens included, that is trained on as a whole or not at all."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A row as the model saw it: its segments in order, prompts and answers in turn."""

    place: str
    segments: tuple[Segment, ...]

    @property
    def prompt(self) -> str:
        """All that was not trained on."""
        return "".join(segment.text for segment in self.segments if not segment.trained)

    @property
    def answer(self) -> str:
        """All that was trained on."""
        return "".join(segment.text for segment in self.segments if segment.trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRows:
    """The rows that can be used, and how many could not or only in part.

    ``examples`` are those that ``rows`` were rendered from, in the same order; ``truncated`` of them lost their end.
    """

    rows: Sequence[Row]
    examples: Sequence[Example]
    truncated: int
    dropped: DropTally
    samples: tuple[Sample, ...]
    masked_answers: int = 0
    """Answers of used examples that are not learned: weighted 0 in the data, or cut off."""
    unknown: UnknownTally = field(default_factory=UnknownTally)
    """Answers that are learned, and what the tokenizer doesn't know of them."""

    @property
    def fully_masked(self) -> int:
        """Examples that were left out because no token of their answers was within the limit."""
        return self.dropped.counts[DropReason.FULLY_MASKED]

    def __str__(self) -> str:
        """Say how many rows there are, in one line."""
        dropped = f", {self.dropped.total} dropped: {self.dropped}" if self.dropped.total else ""
        masked = f", {self.masked_answers} answers in them not learned" if self.masked_answers else ""
        unknown = f", {self.unknown}" if self.unknown.unknown else ""
        return f"{len(self.rows)} rows rendered, {self.truncated} of them truncated{masked}{unknown}{dropped}"


def segments(row: Row, tokenizer: PreTrainedTokenizerBase) -> tuple[Segment, ...]:
    """Return the text of a row, cut where training begins and ends."""
    edges = sorted({0, len(row), *(edge for span in row.answers for edge in span)})
    return tuple(
        Segment(str(tokenizer.decode(row.tokens[start:end].tolist())), (start, end) in row.answers)
        for start, end in pairwise(edges)
    )


def samples_of(
    examples: Sequence[Example], rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase
) -> tuple[Sample, ...]:
    """Show a few rows from all over the dataset."""
    return tuple(Sample(example.place, segments(row, tokenizer)) for example, row in spread(examples, rows))


def spread(examples: Sequence[AnyExample], rows: Sequence[AnyRow]) -> list[tuple[AnyExample, AnyRow]]:
    """Return SAMPLES examples from all over the dataset, with their rows."""
    step = max(1, len(rows) // SAMPLES)
    return [(examples[number], rows[number]) for number in range(0, len(rows), step)[:SAMPLES]]
