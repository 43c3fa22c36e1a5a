"""Kubernetes conditions: the value, the declared types and reasons, and the rules of merging old with new.

Reasons are API: people alert on them, so they are never reworded casually.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, WithJsonSchema

from graft_operator.api.meta import StatusModel

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 1024
"""Characters of a condition's message that are kept. The API allows 32768; a table cell and an event don't."""

WORD_LIMIT: Final = 64
WORD_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9]*$", "maxLength": WORD_LIMIT}

PINNED: Final = "Pinned"
"""Reason of all that is so because a person has named a version: it passes, and others are neither made nor served."""


def _cut(value: Any) -> Any:
    return value[:MESSAGE_LIMIT] if isinstance(value, str) else value


Word = Annotated[str, WithJsonSchema(WORD_SCHEMA)]
"""A word of ours. Any other is read as well and kept as it is: a newer release may have written it before a
downgrade, and nobody may lose a status for that."""

Text = Annotated[str, BeforeValidator(_cut)]
"""Words for people, often those of a pod: cut to what a condition may hold, since one text that is too long makes the
API server refuse the whole status."""

READING_ORDER = ("Stalled", "Reconciling", "Ready")
"""These come first in the list: kstatus reads conditions in order, and so do people."""


class Condition(StatusModel):
    """One entry of ``status.conditions`` (KEP-1623)."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """What a plan has found out about one condition; it becomes a Condition by :func:`merge`."""

    status: ConditionStatus
    reason: str
    message: str = ""


def yes(reason: str, message: str = "") -> Fact:
    """Return a fact that holds."""
    return Fact("True", reason, message)


def no(reason: str, message: str = "") -> Fact:
    """Return a fact that does not hold."""
    return Fact("False", reason, message)


def unknown(reason: str, message: str = "") -> Fact:
    """Return a fact that can't be told yet."""
    return Fact("Unknown", reason, message)


def merge(
    old: Iterable[Condition], facts: Mapping[str, Fact], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Turn facts into conditions; ``lastTransitionTime`` moves only where ``status`` flips."""
    before = {condition.type: condition for condition in old}

    def condition(kind: str, fact: Fact) -> Condition:
        previous = before.get(kind)
        unchanged = previous is not None and previous.status == fact.status
        return Condition(
            type=kind,
            status=fact.status,
            reason=fact.reason,
            message=fact.message[:MESSAGE_LIMIT],
            observed_generation=generation,
            last_transition_time=previous.last_transition_time if previous and unchanged else now,
        )

    rank = {kind: position for position, kind in enumerate(READING_ORDER)}
    ordered = sorted(facts, key=lambda kind: rank.get(kind, len(rank)))
    return tuple(condition(kind, facts[kind]) for kind in ordered)


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, if it was ever set."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of that type is set and True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"
