"""Why a version is about to be trained."""

from __future__ import annotations

from graft_operator.api.adapter_status import VersionReason
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rank_doubling import effective_rank, with_rank
from graft_operator.plan.recipe import fulfilling_recipes, spec_digest
from graft_operator.plan.versions import entry_of


def new_version_reason(seen: AdapterObserved) -> VersionReason:
    """Return the reason that goes into the version's manifest."""
    if is_doubled(seen):
        return "RankDoubled"
    if is_readaptation(seen):
        return "BaseModelChanged"
    return "DataChanged" if has_same_spec_as_live(seen) else "SpecChanged"


def is_readaptation(seen: AdapterObserved) -> bool:
    """Whether the alias points to a version of another base than the one that the next version is trained on."""
    base = seen.training_base
    return seen.live is not None and base is not None and seen.live.manifest.base.digest != base.digest


def is_doubled(seen: AdapterObserved) -> bool:
    """Whether the same training with half the rank has been published: self-correction asks for this one."""
    spec, base, rank = seen.adapter.spec, seen.training_base, effective_rank(seen.adapter)
    if base is None or rank == spec.lora.rank:
        return False
    half = fulfilling_recipes(
        spec.model_copy(update={"lora": with_rank(spec.lora, rank // 2)}),
        base_digest=base.digest,
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
    )
    return any(version.recipe in half for version in seen.adapter.status.versions)


def has_same_spec_as_live(seen: AdapterObserved) -> bool:
    """Whether the live version was trained from this very spec: then what has changed is the content of the data."""
    entry = entry_of(seen.adapter.status.versions, seen.live.manifest.number) if seen.live else None
    return entry is not None and entry.spec_digest == spec_digest(seen.adapter.spec)
