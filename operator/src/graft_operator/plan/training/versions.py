"""The bounded list of versions in an adapter's status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from graft_operator.api.adapter_source import ImportedVersion
from graft_operator.api.adapter_status import (
    VERSIONS_KEPT,
    AdapterServingStatus,
    LoraAdapterStatus,
    ServedVersion,
    Version,
    VersionState,
    WarmStart,
)
from graft_operator.api.conditions import PINNED
from graft_operator.manifests.jobs.adapter_source import location_digest
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.gate import GateDecision
from graft_registry.documents import Metrics, StoredVersion, VersionVerdict

OF_THE_GATE: Final = frozenset({"Published", "Rejected"})
"""States that the gate decides between."""
GIVEN_UP: Final = frozenset({"RolledBack", "Refused"})
"""States of versions that were given up where they were served."""
LARGEST_FIGURE: Final = 2**53
"""Below it every whole number survives a JSON client."""
CLEARED: Final = "Cleared"
"""State of a verdict that holds no more."""


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
        warm_start=_warm_start(stored),
        imported=_imported(stored),
        state=state,
        message=message,
        rank=manifest.shape.rank,
        eval_loss=_decimal(metrics.eval_loss),
        base_eval_loss=_decimal(metrics.base_eval_loss),
        exact_match=_decimal(metrics.exact_match),
        base_exact_match=_decimal(metrics.base_exact_match),
        perplexity=_decimal(metrics.perplexity),
        base_perplexity=_decimal(metrics.base_perplexity),
        preference_accuracy=_decimal(metrics.preference_accuracy),
        train_seconds=_whole(metrics.train_seconds),
        train_tokens=_trained_tokens(metrics),
        published_time=manifest.created_time,
    )


def known_versions(
    old: Iterable[Version],
    history: Iterable[StoredVersion],
    verdicts: Mapping[int, VersionVerdict] = MappingProxyType({}),
) -> tuple[Version, ...]:
    """Return what the status knows, or what the registry holds, and says of it, when the status knows nothing."""
    known = tuple(old)
    return known or tuple(with_verdict(summary(stored), verdicts.get(stored.manifest.number)) for stored in history)


def with_verdict(entry: Version, verdict: VersionVerdict | None) -> Version:
    """Return the entry as the registry remembers it: of one that was given up, why.

    What the gate has rejected it is asked again: its limits may be others by now.
    """
    if verdict is None or verdict.manifest_digest != entry.digest or verdict.state not in GIVEN_UP:
        return entry
    return entry.model_copy(update={"state": verdict.state, "message": verdict.message})


def is_given_up(entry: Version) -> bool:
    """Whether the version is not served for what its gate, the pods or its users have found."""
    return entry.state in (*GIVEN_UP, "Rejected")


def verdicts_to_record(
    versions: Iterable[Version], known: Mapping[int, VersionVerdict], now: datetime
) -> tuple[VersionVerdict, ...]:
    """Return the verdicts of a status that the registry does not know yet, and what clears those that hold no more."""
    due = []
    for entry in versions:
        before = known.get(entry.number)
        stands = before is not None and before.manifest_digest == entry.digest
        if is_given_up(entry):
            state = entry.state
        elif stands and before is not None and before.state != CLEARED and entry.state == "Published":
            state = CLEARED
        else:
            continue
        if stands and before is not None and before.state == state:
            continue
        verdict = VersionVerdict(
            number=entry.number,
            manifest_digest=entry.digest,
            state=state,
            message=entry.message,
            time=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )
        due.append(verdict)
    return tuple(due)


def record(versions: Iterable[Version], entry: Version) -> tuple[Version, ...]:
    """Return the list with ``entry`` put in or replaced, newest first, bounded."""
    before = entry_of(versions := tuple(versions), entry.number)
    if before is not None:
        # What is live already is compared with nothing any more, and neither is what a person has named.
        parts = ("spec_digest", "served", "compared_with")
        kept = {part: getattr(entry, part) or getattr(before, part) for part in parts}
        entry = entry.model_copy(update=kept)
    others = [version for version in versions if version.number != entry.number]
    newest_first = sorted([*others, entry], key=lambda version: version.number, reverse=True)
    newest = newest_first[:VERSIONS_KEPT]
    return tuple(newest if entry in newest else [*newest[:-1], entry])


def with_served(versions: tuple[Version, ...], number: int | None) -> tuple[Version, ...]:
    """Return the list in which the version of that number has been served."""
    known = entry_of(versions, number) if number is not None else None
    if known is None or known.served:
        return versions
    return record(versions, known.model_copy(update={"served": True}))


def served_before(versions: Iterable[Version], target: ServedVersion) -> ServedVersion | None:
    """Return the newest older version on the same base that has been served, and was not given up since."""
    fit = (
        version
        for version in versions
        if version.served
        and version.number < target.number
        and version.state == "Published"
        and version.base_digest == target.base_digest
    )
    newest = max(fit, key=lambda version: version.number, default=None)
    if newest is None:
        return None
    return ServedVersion(number=newest.number, digest=newest.digest, base_digest=newest.base_digest)


def entry_of(versions: Iterable[Version], number: int) -> Version | None:
    """Return the entry of that number."""
    return next((version for version in versions if version.number == number), None)


def home_digest(status: LoraAdapterStatus, history: Iterable[StoredVersion]) -> str | None:
    """Return the base that the adapter lives on: that of what is served, or else of its newest version."""
    if status.serving.target is not None:
        return status.serving.target.base_digest
    newest = newest_published(known_versions(status.versions, history))
    return newest.base_digest if newest else None


def newest_published(versions: Iterable[Version]) -> Version | None:
    """Return the newest version that was neither rejected nor given up."""
    return max((item for item in versions if item.state == "Published"), key=lambda item: item.number, default=None)


def is_moving(serving: AdapterServingStatus) -> bool:
    """Whether the target is still on its way: a canary is under way, or not every replica answers with it yet."""
    progress = serving.rollout
    return serving.previous is not None and progress is not None and (progress.weight < 100 or not progress.step_time)


def comparison_baseline(seen: AdapterSnapshot) -> StoredVersion | None:
    """Return the version that new ones are compared with: what users have, and not what may yet be rolled back."""
    return seen.stable if seen.stable is not None and is_moving(seen.adapter.status.serving) else seen.live


def judged(stored: StoredVersion, verdict: GateDecision, known: Version | None) -> Version:
    """Return the entry with the gate's verdict; what the pods have refused or was rolled back stays so.

    So does a state that only a newer release knows. ``known`` is what is remembered of the version; None gives it
    another chance.
    """
    if known is not None and known.state not in OF_THE_GATE:
        return known
    # Of a pinned version nobody has asked what the gate says; it may yet be asked when the pin is gone.
    words = "" if verdict.reason == PINNED else verdict.message
    entry = summary(stored, "Published" if verdict.passed else "Rejected", words)
    return entry.model_copy(update={"compared_with": verdict.compared_with})


def as_first_told(verdict: GateDecision, known: Version | None) -> GateDecision:
    """Return the verdict on a version that passes, in the words of the first time.

    Once it is live there is nothing to compare it with any more, and yet people ask how it came to be served.
    """
    if not verdict.passed or known is None or known.state != "Published" or not known.message:
        return verdict
    return replace(verdict, message=known.message)


def of_spec(entry: Version, recipe: str | None, spec_digest: str) -> Version:
    """Return the entry with the spec that asked for it, where that is the current one."""
    return entry.model_copy(update={"spec_digest": spec_digest}) if entry.recipe == recipe else entry


def _warm_start(stored: StoredVersion) -> WarmStart | None:
    start = stored.manifest.warm_start
    return None if start is None else WarmStart(number=start.number, digest=start.manifest_digest)


def _whole(value: float | None) -> int | None:
    """Return a figure of a manifest as a whole number; None for one that no training can come to.

    The API server would refuse the whole status for a number that it can't hold.
    """
    return round(value) if value is not None and 0 <= value < LARGEST_FIGURE else None


def _trained_tokens(metrics: Metrics) -> int | None:
    if metrics.train_seconds is None or metrics.tokens_per_second is None:
        return None
    return _whole(metrics.train_seconds * metrics.tokens_per_second)


def _imported(stored: StoredVersion) -> ImportedVersion | None:
    found = stored.manifest.imported
    if found is None:
        return None
    return ImportedVersion(
        source_digest=location_digest(found.source.to_dict()), digest=found.digest, revision=found.revision or ""
    )


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
