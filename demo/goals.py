"""When an adapter or a base is where its spec wants it: predicates over objects of the API server. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from demo.cluster import Object, condition, holds


def settled(adapter: Object) -> bool:
    """Whether the version of the current spec, or the one that it pins, answers everywhere and nothing else goes on."""
    return holds(adapter, "Ready") and is_as_wanted(adapter) and holds(adapter, "Reconciling", "False")


def is_as_wanted(adapter: Object) -> bool:
    """Whether what there is to serve was made from the current spec and base, or is what the spec pins instead."""
    is_pinned = condition(adapter, "UpToDate").get("reason") == "Pinned"
    return holds(adapter, "UpToDate", "False" if is_pinned else "True")


def answers_with(number: int) -> Callable[[Object], bool]:
    """Return the goal: this very version answers on every wanted replica, and no other one is on its way."""

    def goal(adapter: Object) -> bool:
        status = adapter.get("status", {})
        current = status.get("observedGeneration") == adapter["metadata"]["generation"]
        return bool(current and status.get("servedVersion") == number and status.get("candidateVersion") is None)

    return goal


def settled_on(base_digest: str) -> Callable[[Object], bool]:
    """Return the goal: settled, with a version that was trained on this base."""

    def goal(adapter: Object) -> bool:
        target = adapter.get("status", {}).get("serving", {}).get("target") or {}
        return settled(adapter) and target.get("baseDigest") == base_digest

    return goal


def resolved(base: Object | None) -> str | None:
    """Return the digest that the base's current source was resolved to, or None while it isn't."""
    if base is None or not holds(base, "Resolved"):
        return None
    digest: str = base["status"]["resolved"]["digest"]
    return digest


def serves_only_current(base: Object | None) -> bool:
    """Whether the base answers from its current source, and every older revision is retired."""
    digest = resolved(base)
    if base is None or digest is None or not holds(base, "Ready"):
        return False
    return [revision["digest"] for revision in base["status"]["serving"]] == [digest]


def version_entry(adapter: Object, number: int) -> Object:
    """Return the entry of a version in the status. Raises LookupError."""
    for entry in adapter["status"]["versions"]:
        if entry["number"] == number:
            return dict(entry)
    raise LookupError(f"adapter {adapter['metadata']['name']} has no version {number} in its status")


def published_time(adapter: Object, number: int) -> float:
    """Return when a version was committed, in seconds since the epoch."""
    text: Any = version_entry(adapter, number)["publishedTime"]
    return datetime.fromisoformat(text).timestamp()
