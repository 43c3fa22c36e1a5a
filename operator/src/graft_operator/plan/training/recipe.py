"""The recipe digest: the identity of a training, so that nothing is trained twice.

In: what decides the weights. Out: everything that doesn't, such as where the pod runs, how often it checkpoints, or
how strict the gate is. The trainer's image is recorded in the manifest but is no part of the recipe, so that an upgrade
of Graft does not train every adapter of a company again; ``RECIPE_SCHEMA`` is raised instead when a change of ours
makes old results wrong.
"""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.adapter_status import ServedMode, WarmStart
from graft_operator.api.dataset import Dataset
from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_operator.api.training import NOT_SERVED, Training
from graft_registry.digests import digest_of

RECIPE_SCHEMA: Final = 1

OPERATIONAL: Final = frozenset({"checkpointSeconds", "deadlineSeconds", "rankDoubling"})
"""Fields of ``training`` that don't decide the weights; a doubled rank is in ``lora``."""

OF_KTO: Final = frozenset({"desirableWeight", "undesirableWeight"})
"""Fields of ``training.preference`` that only objective KTO looks at."""


def recipe_inputs(
    spec: LoraAdapterSpec,
    *,
    base_digest: str,
    dataset_digest: str | None,
    evaluation_digest: str | None,
    warm_start: WarmStart | None = None,
) -> dict[str, Any]:
    """Return the effective training inputs, with defaults applied, as plain JSON."""
    return {
        "schema": RECIPE_SCHEMA,
        "base": base_digest,
        "dataset": dataset_inputs(spec.dataset) if spec.dataset else None,
        "datasetDigest": dataset_digest,
        "evaluationDigest": evaluation_digest,
        "method": spec.method,
        "lora": lora_inputs(spec),
        "training": training_inputs(spec.training),
        **method_inputs(spec),
        **({"workers": spec.pod.worker_count} if spec.pod.worker_count > 1 else {}),
        **({"warmStart": warm_start.to_wire()} if warm_start else {}),
    }


def training_inputs(training: Training) -> dict[str, Any]:
    """Return the hyperparameters, as far as they decide anything. What is off was not there in the first recipes."""
    inputs = {name: value for name, value in training.to_wire().items() if name not in OPERATIONAL}
    inputs.pop("attentionGroupSize", None)
    if not training.gradient_checkpointing:
        del inputs["gradientCheckpointing"]
    if not training.packing:
        del inputs["packing"]
    if not training.train_on_inputs:
        del inputs["trainOnInputs"]
    if training.objective == "SFT":
        del inputs["objective"], inputs["preference"]
    elif training.objective == "DPO":
        inputs["preference"] = {name: value for name, value in inputs["preference"].items() if name not in OF_KTO}
    return inputs


def dataset_inputs(dataset: Dataset) -> dict[str, Any]:
    """Return where the rows are and how they are read. How many may be bad decides whether, not what, is trained."""
    inputs = dataset.to_wire()
    del inputs["maxDroppedPercent"]
    if dataset.file_type == "Auto":
        del inputs["fileType"]
    if not dataset.columns:
        del inputs["columns"]
    return inputs


def lora_inputs(spec: LoraAdapterSpec) -> dict[str, Any]:
    """Return the adapter's shape, as far as the method looks at it."""
    lora = spec.lora.to_wire() | {"alpha": spec.lora.effective_alpha}
    if not spec.lora.rank_pattern:
        del lora["rankPattern"]
    if spec.method != "LoRAPlus":
        del lora["learningRateRatio"]
    return lora


def method_inputs(spec: LoraAdapterSpec) -> dict[str, Any]:
    """Return what only some specs have. A merged version has other files, though the adapter in it is the same."""
    inputs: dict[str, Any] = {}
    if spec.method in NOT_SERVED:
        inputs["promptTuning"] = spec.prompt_tuning.to_wire()
    if spec.method == "LongLoRA":
        inputs["attentionGroupSize"] = spec.training.effective_attention_group_size
    if spec.serving.mode == "Merged":
        inputs["merged"] = True
    return inputs


def recipe_digest(
    spec: LoraAdapterSpec,
    *,
    base_digest: str,
    dataset_digest: str | None,
    evaluation_digest: str | None = None,
    warm_start: WarmStart | None = None,
) -> str:
    """Return ``sha256:…`` of the training inputs.

    The digests of rows are None where only the trainer can tell; ``warm_start`` is None for a training from nothing.
    """
    return digest_of(
        recipe_inputs(
            spec,
            base_digest=base_digest,
            dataset_digest=dataset_digest,
            evaluation_digest=evaluation_digest,
            warm_start=warm_start,
        )
    )


def fulfilling_recipes(
    spec: LoraAdapterSpec,
    *,
    base_digest: str,
    dataset_digest: str | None,
    evaluation_digest: str | None = None,
    warm_start: WarmStart | None = None,
) -> tuple[str, ...]:
    """Return the recipes whose versions fulfil the spec: first its own, which is trained where there is none of them.

    A merged version holds the adapter of the same training beside the model, so it also does for the other modes.
    """
    merged = in_mode(spec, "Merged")
    digests = (
        recipe_digest(
            asked,
            base_digest=base_digest,
            dataset_digest=dataset_digest,
            evaluation_digest=evaluation_digest,
            warm_start=warm_start,
        )
        for asked in (spec, merged)
    )
    return tuple(dict.fromkeys(digests))


def spec_digest(spec: LoraAdapterSpec) -> str:
    """Return ``sha256:…`` of what the spec itself has to say on a training: without the base, and without the data's
    content.
    """
    inputs = recipe_inputs(spec, base_digest="", dataset_digest=None, evaluation_digest=None)
    source = {"source": _without_digests(spec.source.to_wire())} if spec.source else {}
    return digest_of(inputs | {"dataset": _without_digests(inputs["dataset"] or {})} | source)


def spec_digests(spec: LoraAdapterSpec) -> frozenset[str]:
    """Return the spec digests of the same training for all ways of serving: they don't decide how well it learns."""
    return frozenset({spec_digest(in_mode(spec, "MultiAdapter")), spec_digest(in_mode(spec, "Merged"))})


def in_mode(spec: LoraAdapterSpec, mode: ServedMode) -> LoraAdapterSpec:
    """Return the spec with another ``serving.mode``."""
    return spec.model_copy(update={"serving": spec.serving.model_copy(update={"mode": mode})})


def _without_digests(source: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_digests(value) if isinstance(value, dict) else value
        for name, value in source.items()
        if name != "digest"
    }
