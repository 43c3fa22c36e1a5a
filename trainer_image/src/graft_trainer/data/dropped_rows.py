"""Rows that cannot be used: why, how many and where.

One bad row must not cost a whole run, and a hundred must not go unnoticed. So they are left out and counted, and above
a limit the run fails before anything is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import shorten

from graft_trainer.outcome import BadDatasetError

EXAMPLES = 3
"""Rows of each reason, and of a failure in all, that are shown by their place."""

MESSAGE_LENGTH = 200
"""Characters of one row's message: it may quote the row, and three have to fit into a termination message."""


class DropReason(StrEnum):
    """Why a row is left out, as the version's manifest counts it."""

    NOT_JSON = "NotJSON"
    NOT_AN_OBJECT = "NotAnObject"
    WRONG_KEYS = "WrongKeys"
    """The keys fit no format, or not the format of the other rows."""
    MALFORMED = "Malformed"
    """A value has the wrong type, or is no text."""
    NOT_TEXT = "NotText"
    """A turn has a picture, a sound or a file."""
    PREFERENCE = "Preference"
    """The row says which answers are better, not what to say."""
    NO_PREFERENCE = "NoPreference"
    """The row does not say which answer is better, or in the way of another objective."""
    SAME_ANSWERS = "SameAnswers"
    """Chosen and rejected answer are the same, so nothing is preferred."""
    UNKNOWN_ROLE = "UnknownRole"
    NO_ANSWER = "NoAnswer"
    """Nothing in the row is the assistant's, so there is nothing to learn."""
    REFUSED_BY_TEMPLATE = "RefusedByTemplate"
    """The base's chat template does not render these turns in this order."""
    FULLY_MASKED = "FullyMasked"
    """The answer begins behind the longest sequence."""


SHAPELESS = frozenset(
    {
        DropReason.NOT_JSON,
        DropReason.NOT_AN_OBJECT,
        DropReason.WRONG_KEYS,
        DropReason.MALFORMED,
        DropReason.NO_PREFERENCE,
    }
)
"""Reasons for which rows may only have been taken for what they are not."""


class UnusableRowError(ValueError):
    """One row cannot be used; the others may be."""

    def __init__(self, reason: DropReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that was left out: its place, such as ``s3://data/x.jsonl line 7``, and what is wrong with it."""

    place: str
    message: str


@dataclass(slots=True)
class DropTally:
    """Counts the rows that were left out, by reason, and keeps the first few of each reason."""

    counts: Counter[DropReason] = field(default_factory=Counter)
    first: dict[DropReason, list[DroppedRow]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Rows that were left out."""
        return self.counts.total()

    def add(self, place: str, error: UnusableRowError) -> None:
        """Count one row."""
        self.counts[error.reason] += 1
        examples = self.first.setdefault(error.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(DroppedRow(place, shorten(str(error), MESSAGE_LENGTH, placeholder="…")))

    def examples(self) -> list[DroppedRow]:
        """Return the first rows, one of each reason before the second of any, and none that says what another does."""
        by_round = [row for rank in range(EXAMPLES) for rows in self.first.values() for row in rows[rank : rank + 1]]
        by_message: dict[str, DroppedRow] = {}
        for row in by_round:
            by_message.setdefault(row.message, row)
        return list(by_message.values())[:EXAMPLES]

    def by_reason(self) -> dict[str, int]:
        """Return the number of rows per reason, the most frequent first."""
        return {reason.value: count for reason, count in self.counts.most_common()}

    def __add__(self, other: DropTally) -> DropTally:
        """Return both counts as one."""
        first = {
            reason: [*self.first.get(reason, ()), *other.first.get(reason, ())][:EXAMPLES]
            for reason in {**self.first, **other.first}
        }
        return DropTally(self.counts + other.counts, first)

    def __str__(self) -> str:
        """Say how many rows of which reason, with the first places: ``2 NoAnswer (x.jsonl line 3, x.jsonl line 9)``."""
        reasons = []
        for reason, count in self.counts.most_common():
            places = [row.place for row in self.first[reason]]
            more = ["…"] if count > len(places) else []
            reasons.append(f"{count} {reason} ({', '.join(places + more)})")
        return ", ".join(reasons)


def how_to_mend(dropped: DropTally, *, has_columns: bool) -> str:
    """Return what to do about rows that cannot be used, as an imperative sentence without a full stop."""
    if not SHAPELESS & dropped.counts.keys():
        return "Mend or remove the rows"
    columns = "correct spec.dataset.columns, or " if has_columns else ""
    return f"Mend or remove the rows, or {columns}set spec.dataset.format or fileType to what they are"


def check_limit(dropped: DropTally, rows: int, *, max_percent: int, field: str, fix: str) -> None:
    """Raise BadDatasetError where more than ``max_percent`` of ``rows`` rows were left out, or all of them.

    Args:
        dropped: the rows that were left out.
        rows: all rows, with those that were left out.
        max_percent: ``spec.dataset.maxDroppedPercent``.
        field: of the LoraAdapter, that has to change.
        fix: what to do, as an imperative sentence without a full stop.
    """
    if not dropped.total or (dropped.total * 100 <= max_percent * rows and dropped.total < rows):
        return
    examples = "; ".join(f"{row.place}: {row.message}" for row in dropped.examples())
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.by_reason().items())
    enough = math.ceil(dropped.total * 100 / rows)
    without = f", or set spec.dataset.maxDroppedPercent: {enough} to go on without them" if dropped.total < rows else ""
    # What to do comes before the examples: they may be long, and statuses hold no long messages.
    raise BadDatasetError(
        f"{dropped.total} of {rows} rows cannot be used ({reasons}), and spec.dataset.maxDroppedPercent is "
        f"{max_percent}. {fix}{without}. The first: {examples}",
        field=field,
    )
