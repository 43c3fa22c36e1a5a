"""What the status says when a pass can't even be planned. What runs and is served stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from graft_operator.api.conditions import Condition, Fact, merge, no, yes
from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster.errors import ClusterError
from graft_operator.plan.rejections import OBJECT_REFUSED


def first_error(error: ValidationError) -> str:
    """Return the first problem as ``spec.field: what is wrong``."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"


def stalled(reason: str, message: str) -> dict[str, Fact]:
    """Nothing goes on until a person acts."""
    return {
        "Stalled": yes(reason, message),
        "Reconciling": no("Stalled"),
        "Ready": no(reason, message),
    }


def invalid_spec(error: ValidationError) -> dict[str, Fact]:
    """The spec can't be read: the CRD lets none through, unless it is of another version than we are."""
    reason, message = "InvalidSpec", first_error(error)
    return stalled(reason, message) | {"Accepted": no(reason, message)}


def registry_trouble(error: Exception, *, is_transient: bool) -> dict[str, Fact]:
    """The registry is away, which passes, or holds something that is not what it should be, which doesn't."""
    reason, message = f"Registry{type(error).__name__.removeprefix('Registry')}", str(error)
    if not is_transient:
        return stalled(reason, message)
    return {
        "Stalled": no("Progressing"),
        "Reconciling": yes(reason, message),
        "Ready": no(reason, message),
    }


def object_refused(error: ClusterError) -> dict[str, Fact]:
    """The API server refuses what a pass can't do without, such as a list or a finalizer. Children hold up less."""
    return stalled(OBJECT_REFUSED, f"{error}; it is tried again")


def with_problem(
    metadata: ObjectMeta, old: tuple[Condition, ...], facts: Mapping[str, Fact], now: datetime
) -> tuple[Condition, ...]:
    """Return the old conditions with what is in the way; an object that answers is still Ready."""
    kept = {item.type: Fact(item.status, item.reason, item.message) for item in old}
    news = {kind: fact for kind, fact in facts.items() if kind != "Ready" or kept.get(kind, fact).status != "True"}
    return merge(old, kept | news, generation=metadata.generation, now=now)


def unreadable_status(error: ValidationError) -> dict[str, Fact]:
    """The status is not as we write it: a newer operator has, or a person."""
    return stalled("UnreadableStatus", f"status.{first_error(error)}; upgrade the operator, or remove that field")


def pass_cut_off(seconds: float) -> dict[str, Fact]:
    """A pass has taken longer than it may: something that it waits for gives no answer."""
    reason, message = "PassTimedOut", f"a look at the object was cut off after {seconds:g} s; it is tried again"
    return {"Stalled": no("Progressing"), "Reconciling": yes(reason, message), "Ready": no(reason, message)}


def not_watched(kind: str, why: str) -> dict[str, Fact]:
    """A kind can't be read in the object's namespace, so nothing can be decided there."""
    reason, message = "WatchFailed", f"{kind} of this namespace can't be read: {why or 'they are being listed'}"
    return {"Stalled": no("Progressing"), "Reconciling": yes(reason, message), "Ready": no(reason, message)}
