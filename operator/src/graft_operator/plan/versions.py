"""The bounded list of versions in an adapter's status."""

from __future__ import annotations

from collections.abc import Iterable

from graft_operator.api.adapter_status import VERSIONS_KEPT, Version, VersionState
from graft_operator.plan.gate import GateVerdict
from graft_registry.documents import StoredVersion


def summary(stored: StoredVersion, state: VersionState = "Published", message: str = "") -> Version:
    """Return the entry of ``status.versions`` for a stored version."""
    manifest, metrics = stored.manifest, stored.manifest.metrics
    return Version(
        number=manifest.number,
        digest=stored.digest,
        recipe=manifest.recipe,
        base_digest=manifest.base.digest,
        base_revision=manifest.base.revision,
        reason=manifest.reason,
        state=state,
        message=message,
        eval_loss=_decimal(metrics.eval_loss),
        base_eval_loss=_decimal(metrics.base_eval_loss),
        exact_match=_decimal(metrics.exact_match),
        base_exact_match=_decimal(metrics.base_exact_match),
        published_time=manifest.created_time,
    )


def known_versions(old: Iterable[Version], history: Iterable[StoredVersion]) -> tuple[Version, ...]:
    """Return what the status knows, or what the registry holds when the status knows nothing."""
    known = tuple(old)
    return known or tuple(summary(stored) for stored in history)


def record(versions: Iterable[Version], entry: Version) -> tuple[Version, ...]:
    """Return the list with ``entry`` put in or replaced, newest first, bounded."""
    others = [version for version in versions if version.number != entry.number]
    newest_first = sorted([*others, entry], key=lambda version: version.number, reverse=True)
    kept = newest_first[:VERSIONS_KEPT]
    return tuple(kept if entry in kept else [*kept[:-1], entry])


def entry_of(versions: Iterable[Version], number: int) -> Version | None:
    """Return the entry of that number."""
    return next((version for version in versions if version.number == number), None)


def judged(stored: StoredVersion, verdict: GateVerdict, known: Version | None) -> Version:
    """Return the entry with the gate's verdict; what the pods have refused stays refused.

    ``known`` is what is remembered of the version; None gives it another chance.
    """
    if known is not None and known.state == "Refused":
        return known
    if verdict.passed:
        return summary(stored)
    return summary(stored, "Rejected", verdict.message)


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
