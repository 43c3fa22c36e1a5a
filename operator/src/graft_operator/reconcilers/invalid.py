"""The status of an object whose spec we can't read: the CRD lets none through, unless it is of another version."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from graft_operator.api.conditions import Condition, Fact, merge, no, yes
from graft_operator.api.meta import ObjectMeta


def complaint(error: ValidationError) -> str:
    """Return the first problem as ``spec.field: what is wrong``."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"


def invalid_conditions(
    metadata: ObjectMeta, old: tuple[Condition, ...], error: ValidationError, now: datetime
) -> tuple[Condition, ...]:
    """Return conditions that say so; nothing that runs or is served is touched."""
    message = complaint(error)
    facts: dict[str, Fact] = {
        "Stalled": yes("InvalidSpec", message),
        "Reconciling": no("Stalled"),
        "Ready": no("InvalidSpec", message),
    }
    kept = {item.type: Fact(item.status, item.reason, item.message) for item in old if item.type not in facts}
    accepted = {"Accepted": no("InvalidSpec", message)} if "Accepted" in kept or not kept else {}
    return merge(old, kept | accepted | facts, generation=metadata.generation, now=now)
