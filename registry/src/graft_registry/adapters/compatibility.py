"""Whether an adapter may be loaded onto a base: decided from headers and documents, before any engine sees it.

vLLM loads an adapter that was trained on another base, on other shapes or on more layers, answers 200 and then
serves garbage; this check is what stands between. Pure, without torch, well under 5 ms for an adapter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from graft_registry.adapters.coverage import missing_modules
from graft_registry.adapters.lora_tensors import LoraModule, lora_modules
from graft_registry.adapters.peft_config import LoraSettings
from graft_registry.documents import BaseManifest, VersionManifest
from graft_registry.models.safetensors_header import TensorInfo

_SERVABLE_DTYPES: Final = frozenset({"F32", "F16", "BF16"})


class RefusalReason(StrEnum):
    """Why an adapter may not be loaded. Final for this pair of adapter and base."""

    BASE_DIGEST_MISMATCH = "BaseDigestMismatch"
    """Trained on another base, even if all shapes agree."""
    METHOD_NOT_SERVABLE = "MethodNotServable"
    """A PEFT method or option that a multi-adapter engine can't apply."""
    INVALID_CONFIG = "InvalidConfig"
    """``adapter_config.json`` can't be understood."""
    RANK_TOO_HIGH = "RankTooHigh"
    """Above what the engine has reserved memory for."""
    UNEXPECTED_TENSOR = "UnexpectedTensor"
    """A tensor that isn't part of a LoRA adapter."""
    MODULE_UNKNOWN = "ModuleUnknown"
    """The base has no such linear layer."""
    MISSING_TENSOR = "MissingTensor"
    """Half of a pair, or a layer that the config targets, isn't there."""
    SHAPE_MISMATCH = "ShapeMismatch"
    """A matrix doesn't fit the layer or the rank."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason for a refusal, and a message for people that says what to do."""

    reason: RefusalReason
    message: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Everything that the checks look at."""

    settings: LoraSettings
    tensors: Sequence[TensorInfo]
    modules: Mapping[str, LoraModule]
    unexpected: Sequence[str]
    base: BaseManifest
    max_rank: int


def check_version(
    manifest: VersionManifest,
    config: Mapping[str, Any],
    tensors: Sequence[TensorInfo],
    base: BaseManifest,
    *,
    max_rank: int,
) -> Refusal | None:
    """Check a version: that it was trained on exactly this base, is meant for multi-adapter serving, and fits.

    Args:
        manifest: of the version.
        config: the parsed ``adapter_config.json``.
        tensors: from the header of ``adapter_model.safetensors``.
        base: that the engine serves.
        max_rank: the engine's ``--max-lora-rank``.
    """
    if manifest.base.digest != base.digest:
        return Refusal(
            RefusalReason.BASE_DIGEST_MISMATCH,
            f"trained on base {manifest.base.digest}{_other_parts(manifest, base)}, but this is {base.digest}; "
            "re-adapt it to this base",
        )
    if manifest.servable != "MultiAdapter":
        return Refusal(
            RefusalReason.METHOD_NOT_SERVABLE,
            f"method {manifest.method} is servable as {manifest.servable}, not beside other adapters",
        )
    return check_adapter(config, tensors, base, max_rank=max_rank)


def _other_parts(manifest: VersionManifest, base: BaseManifest) -> str:
    """Name what is known to differ beside the weights: a base with another chat template is another base, too."""
    recorded, fingerprint = manifest.base, base.fingerprint
    if recorded.tokenizer_digest is None:
        return ""
    parts = (
        ("tokenizer", recorded.tokenizer_digest, fingerprint.tokenizer_digest),
        ("chat template", recorded.chat_template_digest, fingerprint.chat_template_digest),
    )
    differing = [name for name, theirs, ours in parts if theirs != ours]
    return f" with another {' and '.join(differing)}" if differing else ""


def check_adapter(
    config: Mapping[str, Any], tensors: Sequence[TensorInfo], base: BaseManifest, *, max_rank: int
) -> Refusal | None:
    """Check that a PEFT adapter fits the shapes of a base and uses only what a multi-adapter engine supports.

    Says nothing about which base it was trained on: that is ``check_version``.
    """
    try:
        settings = LoraSettings.model_validate(dict(config))
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(map(str, detail["loc"]))
        return Refusal(RefusalReason.INVALID_CONFIG, f"adapter_config.json: {field}: {detail['msg']}")
    modules, unexpected = lora_modules(tensors)
    candidate = _Candidate(settings, tensors, modules, unexpected, base, max_rank)
    refusals = (check(candidate) for check in _CHECKS)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _method_is_servable(candidate: _Candidate) -> Refusal | None:
    obstacle = candidate.settings.obstacle_to_serving()
    if obstacle is None:
        return None
    return Refusal(
        RefusalReason.METHOD_NOT_SERVABLE,
        f"adapter_config.json: {obstacle}; train it as LoRA or RsLoRA, or serve it merged",
    )


def _rank_is_within_the_engines(candidate: _Candidate) -> Refusal | None:
    rank = max((candidate.settings.r, *candidate.settings.rank_pattern.values()))
    if rank <= candidate.max_rank:
        return None
    return Refusal(
        RefusalReason.RANK_TOO_HIGH,
        f"rank {rank} is above the {candidate.max_rank} of the engine; raise serving.maxRank of the base model",
    )


def _all_tensors_are_lora(candidate: _Candidate) -> Refusal | None:
    if candidate.unexpected:
        return Refusal(RefusalReason.UNEXPECTED_TENSOR, f"not a LoRA tensor: {candidate.unexpected[0]}")
    if not candidate.modules:
        return Refusal(RefusalReason.MISSING_TENSOR, "the adapter has no LoRA tensors")
    return None


def _all_modules_are_in_the_base(candidate: _Candidate) -> Refusal | None:
    unknown = next((name for name in candidate.modules if name not in candidate.base.linear_modules), None)
    if unknown is None:
        return None
    return Refusal(
        RefusalReason.MODULE_UNKNOWN,
        f"{unknown} is not a linear layer of base {candidate.base.name}: trained on another architecture or depth",
    )


def _all_pairs_are_whole(candidate: _Candidate) -> Refusal | None:
    for name, module in candidate.modules.items():
        missing = module.missing()
        if missing is not None:
            return Refusal(RefusalReason.MISSING_TENSOR, f"{name} has no {missing}")
    return None


def _all_matrices_fit(candidate: _Candidate) -> Refusal | None:
    ranks = {candidate.settings.r, *candidate.settings.rank_pattern.values()}
    for name, module in candidate.modules.items():
        problem = module.misfit(candidate.base.linear_modules[name], ranks, _SERVABLE_DTYPES)
        if problem is not None:
            return Refusal(RefusalReason.SHAPE_MISMATCH, f"{name}: {problem}")
    return None


def _every_targeted_layer_is_adapted(candidate: _Candidate) -> Refusal | None:
    missing = missing_modules(candidate.settings, candidate.modules, candidate.base.linear_modules)
    if not missing:
        return None
    return Refusal(
        RefusalReason.MISSING_TENSOR,
        f"no tensors for {missing[0]}, which target_modules covers: trained on another depth, or cut short",
    )


# In this order: each check may rely on what those before it have established.
_CHECKS: Final[Sequence[Callable[[_Candidate], Refusal | None]]] = (
    _method_is_servable,
    _rank_is_within_the_engines,
    _all_tensors_are_lora,
    _all_modules_are_in_the_base,
    _all_pairs_are_whole,
    _all_matrices_fit,
    _every_targeted_layer_is_adapted,
)
