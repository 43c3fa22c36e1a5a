"""What keeps an import from being made, and what was imported from being served."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from graft_operator.api.adapter_status import Version
from graft_operator.api.conditions import Fact, no, unknown
from graft_operator.plan.imports.looks import PASSING
from graft_operator.plan.imports.origin import is_bound, is_import, is_unresolved, known_source
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.gate import GateDecision
from graft_registry.documents import StoredVersion

UNSERVABLE: Final = frozenset({"VersionNotServable", "RankTooHigh"})
"""Reasons for which an import is rejected that no limit concerns: served as the spec asks, no engine would load it."""

OTHER_MODES: Final = "use serving.mode Merged or None"


def source_is_unresolved(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """With an interval the source is looked at before anything is imported: the content is a part of the recipe."""
    adapter = seen.adapter
    if not is_import(seen) or not is_unresolved(adapter, seen.history):
        return None
    known = known_source(adapter, seen.history)
    if known is None or not known.reason:
        fact = no("Importing", "the source is looked at for the first time")
        return TrainingDecision(trained=fact, waiting=fact)
    fact = no(known.reason, known.message)
    if known.reason in PASSING:
        return TrainingDecision(trained=fact, waiting=fact)
    return TrainingDecision(trained=fact, stalled=fact)


def bound_base_is_missing(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """An adapter that stays on its base has nothing to be made on where that is not in the registry any more."""
    resolved = seen.base.status.resolved if seen.base is not None else None
    if seen.recipe is not None or seen.base is None or resolved is None or seen.kept_base is not None:
        return None
    if not is_bound(seen.adapter, resolved.digest, seen.history, seen.verdicts):
        return None
    if (why := seen.unknown) is not None:
        fact = unknown(why.reason or "RegistryNotAsked", why.message or "the registry has not been asked yet")
        return TrainingDecision(trained=fact, waiting=fact)
    fact = no("BoundToBase", f"the base that the adapter was imported for is not in the registry any more; {ways_on()}")
    return TrainingDecision(trained=fact, stalled=fact)


def bound_fact(seen: AdapterSnapshot) -> Fact | None:
    """Say that the adapter stays on the base that it was imported for; None where it doesn't."""
    if seen.base is None or seen.kept_base is None or seen.base.spec.readaptation.policy == "Never":
        return None
    return no(
        "BoundToBase",
        f"BaseModel {seen.base.metadata.name} has changed, and the adapter is served on revision"
        f" {seen.kept_base.revision}, which it was imported for; {ways_on()}",
    )


def ways_on() -> str:
    """Return how an imported adapter gets onto another base."""
    return (
        "to move to the new base, name an adapter in spec.source that was trained on it, set spec.source.onBaseChange"
        " Import, or give a spec.dataset to train on"
    )


def unservable(seen: AdapterSnapshot, stored: StoredVersion) -> GateDecision | None:
    """Return why a version that was imported can't be served as the spec asks; None where it can.

    Of what is trained the spec tells that beforehand; of an import nobody knows before it is read.
    """
    manifest, mode, base = stored.manifest, seen.adapter.spec.serving.mode, seen.base
    if manifest.imported is None or mode != "MultiAdapter":
        return None
    if manifest.servable != "MultiAdapter":
        return GateDecision(
            False,
            "VersionNotServable",
            f"the adapter was trained with method {manifest.method}, which no engine applies beside others;"
            f" {OTHER_MODES}",
        )
    if base is not None and manifest.shape.rank > base.spec.serving.max_rank:
        return GateDecision(
            False,
            "RankTooHigh",
            f"the adapter has rank {manifest.shape.rank}, above serving.maxRank {base.spec.serving.max_rank} of"
            f" BaseModel {base.metadata.name}; raise maxRank, or {OTHER_MODES}",
        )
    return None


def is_unservable(entry: Version) -> bool:
    """Whether the status says of a version that it was rejected for what no engine can load, so no pin serves it."""
    return entry.state == "Rejected" and entry.imported is not None and entry.message.endswith(OTHER_MODES)
