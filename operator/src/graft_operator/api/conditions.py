"""Kubernetes conditions: the value, the declared types and reasons, and the rules of merging old with new.

Reasons are API: people alert on them, so they are never reworded casually.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from graft_operator.api.meta import StatusModel

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 1024
"""Characters of a condition's message that are kept. The API allows 32768; a table cell and an event don't."""

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
