"""Whether a base can serve what a spec would train: asked before a GPU is taken, as the engine would refuse it after.

Of an adapter that was trained elsewhere the rank is known once it is read (``imports.checks``).

What concerns the spec alone, such as a method that nothing can serve, is refused by the API already.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from graft_operator.api.training import DOUBLING_THE_RANK, NO_BEGINNING, Method
from graft_operator.plan.imports.origin import is_import
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision, refused
from graft_operator.plan.training.rank import raised_rank, with_effective_rank

REFERENCE_FIELD: Final = "spec.training.preference.referenceVersion"


def rank_exceeds_base(seen: AdapterSnapshot, _: datetime | None = None) -> TrainingDecision | None:
    """An engine reserves memory for ranks up to a limit; a merged model has none."""
    spec, base = seen.adapter.spec, seen.base
    rank = with_effective_rank(seen.adapter).spec.lora.highest_rank
    if base is None or spec.serving.mode != "MultiAdapter" or is_import(seen):
        return None
    if published_rank(spec.method, rank) <= base.spec.serving.max_rank:
        return None
    doubled = f" (method {spec.method} publishes up to twice that)" if spec.method in DOUBLING_THE_RANK else ""
    above = f"is above serving.maxRank {base.spec.serving.max_rank} of BaseModel {base.metadata.name}"
    if raised_rank(seen.adapter) is not None:
        # It was raised when the base took higher ranks, or when a merged model was all that it was for.
        what = f"spec.training.rankDoubling: the rank, raised from {spec.lora.highest_rank} to {rank}{doubled},"
        fix = "lower rankDoubling.maxRank, raise the base's maxRank, or set serving.mode Merged or None"
    else:
        field = "spec.lora.rank" if rank > max(spec.lora.rank_pattern.values(), default=0) else "spec.lora.rankPattern"
        what = f"{field}: {rank}{doubled}"
        fix = "lower the rank, raise maxRank, or set serving.mode Merged or None"
    return refused("RankTooHigh", f"{what} {above}; {fix}")


def base_cannot_be_merged_into(seen: AdapterSnapshot, _: datetime | None = None) -> TrainingDecision | None:
    """A merged weight that is rounded to a few bits again loses what the adapter has learnt."""
    base = seen.base
    resolved = base.status.resolved if base is not None else None
    if base is None or resolved is None or not resolved.quantization or seen.adapter.spec.serving.mode != "Merged":
        return None
    return refused(
        "BaseIsQuantized",
        f"spec.serving.mode: BaseModel {base.metadata.name} is stored quantized ({resolved.quantization}), so nothing"
        " can be merged into it; use a full-precision base, or mode MultiAdapter",
    )


def engine_is_too_short(seen: AdapterSnapshot, _: datetime | None = None) -> TrainingDecision | None:
    """What LongLoRA extends the context for would be cut off again by the limit that the base's engines share."""
    spec, base = seen.adapter.spec, seen.base
    limit = base.spec.serving.max_model_length if base is not None else None
    if base is None or limit is None or spec.method != "LongLoRA" or spec.serving.mode != "Merged" or is_import(seen):
        return None
    if limit >= spec.training.max_sequence_length:
        return None
    return refused(
        "ContextTooLong",
        f"spec.training.maxSequenceLength: {spec.training.max_sequence_length} is above serving.maxModelLength {limit}"
        f" of BaseModel {base.metadata.name}, which its merged models share; lower it, or use a BaseModel without"
        " maxModelLength",
    )


def is_servable(seen: AdapterSnapshot) -> bool:
    """Whether the base, as it is now, can serve what the spec asks for."""
    checks = (rank_exceeds_base, base_cannot_be_merged_into, engine_is_too_short)
    return all(check(seen) is None for check in checks)


def pinned_version_fits_other_mode(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """A version is merged when it is published, or never; and only some methods' adapters are served beside others."""
    pinned, mode = seen.pinned, seen.adapter.spec.serving.mode
    if pinned is None:
        return None
    manifest = pinned.manifest
    if mode == "Merged" and manifest.merge is None:
        return refused(
            "VersionNotMerged",
            f"spec.version: version {manifest.number} holds no merged model; pin one that does, or use"
            " serving.mode MultiAdapter",
        )
    if mode == "MultiAdapter" and manifest.servable != "MultiAdapter":
        return refused(
            "VersionNotServable",
            f"spec.version: the adapter of version {manifest.number} (method {manifest.method}) can't be served beside"
            " others; pin one that can, or use serving.mode Merged",
        )
    return None


def reference_is_unusable(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """A training of preferences begins with a version of the same base and shape, or not at all."""
    number, base, field = seen.adapter.spec.training.reference_version, seen.training_base, REFERENCE_FIELD
    if number is None or base is None or seen.unknown is not None or is_import(seen):
        return None
    if seen.reference is None:
        return refused("VersionNotFound", f"{field}: version {number} is not in the registry; name one that is")
    manifest, rank = seen.reference.manifest, seen.adapter.spec.lora.highest_rank
    if manifest.base.digest != base.digest:
        return refused(
            "ReferenceOnOtherBase",
            f"{field}: version {number} belongs to base {manifest.base.digest}, and what is trained now to"
            f" {base.digest}; train with objective SFT on this base first and name that version, or leave it empty",
        )
    if manifest.method in NO_BEGINNING or manifest.shape.rank not in (0, rank):
        return refused(
            "ReferenceOfOtherShape",
            f"{field}: version {number} is an adapter of method {manifest.method} and rank {manifest.shape.rank}, with"
            f" which none of rank {rank} can begin; use its method and rank, and no PiSSA, EVA or LongLoRA",
        )
    return None


def pinned_version_has_no_base(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """An adapter answers only on its own base, so that has to be there to be served. A merged model holds it."""
    if seen.pinned is None or seen.pinned_has_base or seen.adapter.spec.serving.mode != "MultiAdapter":
        return None
    manifest = seen.pinned.manifest
    return refused(
        "BaseNotInRegistry",
        f"spec.version: version {manifest.number} belongs to base {manifest.base.digest}, which BaseModel"
        f" {seen.adapter.spec.base_model_ref.name} has never been; pin a version of a base that it is or was",
    )


def published_rank(method: Method, rank: int) -> int:
    """Return the highest rank that the published adapter may have where ``rank`` is the highest that was asked for."""
    return 2 * rank if method in DOUBLING_THE_RANK else rank
