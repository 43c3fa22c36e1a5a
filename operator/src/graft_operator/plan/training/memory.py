"""Whether a training fits its GPU: the choice of method Auto, and the rejection of what can't fit.

What happens where memory was short after all is in ``micro_batch``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial, reduce
from typing import Any, Final

from graft_operator.api.adapter_status import ChosenMethod
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapter, LoraAdapterSpec
from graft_operator.api.training import TrainingPod
from graft_operator.manifests.jobs.trainer_resources import has_gpu, import_setup, training_setup
from graft_operator.plan.imports.origin import is_import
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision, refused
from graft_registry.digests import digest_of
from graft_registry.models.training_memory import MemoryEstimate, estimate_gpu

GPU_MEMORY_LABEL: Final = "nvidia.com/gpu.memory"
"""Node label of NVIDIA's GPU feature discovery: memory of one GPU, in MiB."""

STABLE_RANK: Final = 64
"""From this rank on alpha/rank damps the update so much that alpha/√rank learns better (rsLoRA, arXiv:2312.03732)."""

UNITS: Final = {"M": 10**6, "G": 10**9, "T": 10**12, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}

FULL_PRECISION: Final = frozenset({"LoRA", "RsLoRA", "LoRAPlus", "DoRA", "PiSSA", "EVA"})
"""Methods that QLoRA can take the place of."""

SHORT_SEQUENCE: Final = 512
"""Nobody is advised to cut rows below this, in tokens."""

Change = Callable[[LoraAdapterSpec], LoraAdapterSpec]


def gpu_memory(pod: TrainingPod) -> int | None:
    """Return the bytes of one GPU of the pod; None without a GPU, or where nothing tells.

    Sharded weights are no question of one GPU, and no estimate is made for them.
    """
    if not has_gpu(pod.resources) or pod.is_sharded:
        return None
    if pod.gpu_memory is not None:
        number = pod.gpu_memory.rstrip("MGTi")
        return int(float(number) * UNITS[pod.gpu_memory.removeprefix(number)])
    label = pod.node_selector.get(GPU_MEMORY_LABEL, "")
    return int(label) * UNITS["Mi"] if label.isascii() and label.isdigit() else None


def estimate(spec: LoraAdapterSpec, base: ResolvedBase) -> MemoryEstimate | None:
    """Return what a training takes of its GPU, or an import where nothing is trained; None without a base's shape."""
    if base.shape is None:
        return None
    setup = import_setup(spec, base) if spec.is_only_imported else training_setup(spec, base)
    return estimate_gpu(base.shape.with_parameters(base.parameters), setup)


def with_chosen_method(adapter: LoraAdapter, base: ResolvedBase) -> LoraAdapter:
    """Return the adapter with method Auto decided: the method in its spec, the choice in its status.

    A choice stands as long as what it was made from, so that an operator with a better estimate does not train again
    what is trained. The methods that people choose pass through.
    """
    spec, kept = adapter.spec, adapter.status.chosen_method
    if spec.method != "Auto":
        return adapter.model_copy(update={"status": adapter.status.model_copy(update={"chosen_method": None})})
    inputs = choice_inputs(spec, base)
    chosen = kept if kept is not None and kept.inputs_digest == inputs else choose_method(spec, base, inputs)
    return adapter.model_copy(
        update={
            "spec": spec.model_copy(update={"method": chosen.method}),
            "status": adapter.status.model_copy(update={"chosen_method": chosen}),
        }
    )


def choose_method(spec: LoraAdapterSpec, base: ResolvedBase, inputs_digest: str) -> ChosenMethod:
    """Return LoRA where it surely fits the GPU, else QLoRA; with high ranks LoRA is rank-stabilised."""
    unquantized = "RsLoRA" if spec.lora.rank >= STABLE_RANK else "LoRA"
    available, needed = gpu_memory(spec.pod), estimate(spec.model_copy(update={"method": unquantized}), base)
    if available is None or needed is None:
        why = "nothing tells of too little GPU memory (spec.pod.gpuMemory)"
        return ChosenMethod(method=unquantized, inputs_digest=inputs_digest, message=why)
    fits = needed.surely_fits(available)
    sizes = f"{unquantized} takes about {size(needed.total)} of the GPU's {size(available)}"
    return ChosenMethod(
        method=unquantized if fits else "QLoRA",
        inputs_digest=inputs_digest,
        message=sizes if fits else f"{sizes}, which leaves too little room",
    )


def choice_inputs(spec: LoraAdapterSpec, base: ResolvedBase) -> str:
    """Return a digest of everything that the choice depends on."""
    setup = training_setup(spec, base)
    shape = base.shape.to_wire() if base.shape else None
    decisive = [setup.target_modules, setup.rank, setup.tokens, setup.value_bytes, setup.gradient_checkpointing]
    return digest_of([*decisive, setup.dropout, setup.shards, gpu_memory(spec.pod), base.parameters, shape])


def gpu_is_too_small(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Refused before a node is rented: what doesn't fit would fail at its first step, hours later in the queue."""
    spec, base = seen.adapter.spec, seen.training_base
    if is_import(seen):
        return None  # it holds the base as an engine does, without gradients and optimizer
    available = gpu_memory(spec.pod)
    needed = estimate(spec, base) if base is not None else None
    if base is None or available is None or needed is None or not needed.cannot_fit(available):
        return None
    message = f"{breakdown(spec, needed, available)}; {remedy(spec, base, available)}"
    return refused("DoesNotFit", message)


def breakdown(spec: LoraAdapterSpec, needed: MemoryEstimate, available: int) -> str:
    """Return what is needed, part by part, and what there is."""
    parts = ("weights", "adapter", "activations", "logits", "overhead")
    listed = ", ".join(f"{part} {size(getattr(needed, part))}" for part in parts)
    return (
        f"spec.pod.gpuMemory: {spec.method} takes about {size(needed.total)} ({listed}), and a GPU of the pod has"
        f" {size(available)}"
    )


def remedy(spec: LoraAdapterSpec, base: ResolvedBase, available: int) -> str:
    """Return the changes that would help, each by itself; if none would, all of them together; else a larger GPU."""
    if spec.is_only_imported:
        return "take a GPU with more memory, or none: an import is done on CPUs, too"
    changes = savings(spec)
    alone = [(words, estimate(change(spec), base)) for words, change in changes.items()]
    helping = [f"{words} (about {size(need.total)})" for words, need in alone if need and need.surely_fits(available)]
    if helping:
        return f"it would fit with {' or '.join(helping)}"
    needed = estimate(reduce(lambda changed, change: change(changed), changes.values(), spec), base)
    if changes and needed is not None and not needed.cannot_fit(available):
        return f"it may fit with all of {', '.join(changes)} (about {size(needed.total)})"
    return "take a GPU with more memory, or a smaller base"


def savings(spec: LoraAdapterSpec) -> dict[str, Change]:
    """Return the changes that would save memory, the mildest first, by the words for them."""
    training = spec.training
    changes: dict[str, Change] = {}
    if not training.gradient_checkpointing:
        changes["training.gradientCheckpointing true"] = partial(with_training, gradient_checkpointing=True)
    if training.batch_size > 1:
        changes["training.batchSize 1"] = partial(with_training, batch_size=1)
    if spec.method in FULL_PRECISION:
        changes["method QLoRA"] = lambda given: given.model_copy(update={"method": "QLoRA"})
    if training.max_sequence_length > SHORT_SEQUENCE:
        shorter = training.max_sequence_length // 2
        changes[f"training.maxSequenceLength {shorter}"] = partial(with_training, max_sequence_length=shorter)
    return changes


def with_training(spec: LoraAdapterSpec, **changes: Any) -> LoraAdapterSpec:
    """Return the spec with other hyperparameters."""
    return spec.model_copy(update={"training": spec.training.model_copy(update=changes)})


def size(count: int) -> str:
    """Return bytes for people, such as ``23.5 GiB``."""
    return f"{count / UNITS['Gi']:.1f} GiB"
