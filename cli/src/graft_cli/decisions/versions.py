"""What status tells of an adapter's versions, one by one and two beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from graft_cli.client.objects import Adapter
from graft_cli.decisions.tree import canary_of
from graft_cli.errors import Refused
from graft_operator.api.adapter_status import VERSIONS_KEPT, Version

SHORT: Final = 8
"""Hex digits of a digest that people are shown, as in names of objects."""

COMPARED: Final = {
    "state": "state",
    "message": "message",
    "reason": "made because",
    "spec_digest": "spec",
    "recipe": "recipe",
    "base_revision": "base revision",
    "base_digest": "base",
    "warm_start": "began with",
    "rank": "rank",
    "eval_loss": "loss",
    "base_eval_loss": "loss of the base",
    "exact_match": "exact match",
    "base_exact_match": "exact match of the base",
    "perplexity": "perplexity",
    "base_perplexity": "perplexity of the base",
    "train_seconds": "seconds of training",
    "train_tokens": "tokens of training",
    "served": "has served everywhere",
    "published_time": "published",
    "digest": "manifest",
}
"""Fields of a version, in the order of what matters to people, and the words for them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two versions."""

    field: str
    before: str
    after: str
    change: str = ""
    """By how much a number differs."""

    @property
    def differs(self) -> bool:
        """Whether the two say different things."""
        return self.before != self.after


def readable(adapter: Adapter) -> Adapter:
    """Return the adapter. Raises Refused where its status can't be read: it would seem to have no versions."""
    if adapter.problem:
        raise Refused(f"what the operator says of {adapter.metadata.name} can't be read: {adapter.problem}")
    return adapter


def version_of(adapter: Adapter, number: int) -> Version:
    """Return what status tells of a version. Raises Refused where it tells nothing."""
    found = told_version(adapter, number)
    if found is None:
        known = ", ".join(str(item.number) for item in adapter.status.versions) or "none"
        fix = f"status keeps the newest {VERSIONS_KEPT}, here {known}; the registry's manifests hold the rest"
        raise Refused(f"status of {adapter.metadata.name} tells nothing of version {number}", fix=fix)
    return found


def told_version(adapter: Adapter, number: int) -> Version | None:
    """Return what status tells of a version; None where it tells nothing."""
    return next((item for item in adapter.status.versions if item.number == number), None)


def uses(adapter: Adapter, version: Version) -> tuple[str, ...]:
    """Return what a version is for now: served, canary, pinned, or nothing."""
    canary = canary_of(adapter.status)
    found = ["served"] if version.number == adapter.status.served_version else []
    found += [f"canary {canary.weight}%"] if canary and canary.target == version.number else []
    return (*found, *(["pinned"] if version.number == adapter.pinned else []))


def differences(before: Version, after: Version) -> tuple[Difference, ...]:
    """Return every field that one of the two has."""
    rows = []
    for field, words in COMPARED.items():
        old, new = getattr(before, field), getattr(after, field)
        if old in (None, "") and new in (None, ""):
            continue
        rows.append(difference(words, old, new))
    return tuple(rows)


def difference(field: str, before: Any, after: Any) -> Difference:
    """Return one field of two versions, as people read it."""
    return Difference(field, shown(before), shown(after), _change(before, after))


def shown(value: Any) -> str:
    """Return a field for people."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "number"):
        return f"v{value.number}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    if isinstance(value, float):
        return f"{value:.6g}"
    return short(value) if isinstance(value, str) else str(value)


def short(value: str) -> str:
    """Return the first digits of a digest, and other words as they are."""
    return value.removeprefix("sha256:")[:SHORT] if value.startswith("sha256:") else value


def _change(old: Any, new: Any) -> str:
    """Return the difference of two numbers; status holds decimals as strings."""
    try:
        gain = float(new) - float(old)
    except (TypeError, ValueError):
        return ""
    return f"{gain:+.4g}" if gain and not isinstance(old, bool) else ""
