"""What the trainer's container asks for: the user's resources, and the memory that they leave open."""

from __future__ import annotations

import math
from typing import Any, Final

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_operator.api.pods import Resources
from graft_registry.models.training_memory import TrainingSetup, estimate_cpu, host_bytes_beside_gpu

QUANTIZED: Final = frozenset({"QLoRA"})
"""Methods that hold the base's linear layers in NF4."""

WITHOUT_RANK: Final = frozenset({"IA3", "PromptTuning", "PrefixTuning"})
"""Methods that train a few vectors, whose memory is next to nothing."""

MEBIBYTE: Final = 1 << 20
REQUEST_HEADROOM: Final = 1.15
"""A request above the estimate, by its own error: one that is too small gets the pod evicted."""

CPUS_VARIABLE: Final = "GRAFT_CPUS"


def training_setup(spec: LoraAdapterSpec, base: ResolvedBase) -> TrainingSetup:
    """Return what the memory of a training depends on; rows count at their full length.

    A method Auto that is not decided yet is taken for LoRA.
    """
    lora, training = spec.lora, spec.training
    precision = training.precision
    if precision == "Auto":
        precision = "Float32" if base.dtype == "float32" else "BFloat16"
    return TrainingSetup(
        quantized=spec.method in QUANTIZED,
        rank=0 if spec.method in WITHOUT_RANK else lora.highest_rank,
        target_modules=lora.target_modules,
        # The trainer switches it off where preferences are learned.
        dropout=float(lora.dropout) > 0 and training.objective == "SFT",
        batch_size=training.batch_size,
        answers_per_row=2 if training.objective == "DPO" else 1,
        copies_adapter=training.objective != "SFT"
        and (spec.method == "PiSSA" or training.reference_version is not None),
        sequence_length=training.max_sequence_length,
        value_bytes=4 if precision == "Float32" else 2,
        gradient_checkpointing=training.gradient_checkpointing,
        long_context=spec.method == "LongLoRA",
        shards=spec.pod.worker_count if spec.pod.is_sharded else 1,
    )


def import_setup(spec: LoraAdapterSpec, base: ResolvedBase) -> TrainingSetup:
    """Return what the memory of an import depends on: the base once, and rows that pass without a gradient.

    Of what passes one block is held at a time, which is how gradient checkpointing is counted.
    """
    passes = training_setup(spec, base)
    return TrainingSetup(
        rank=0,
        target_modules=(),
        dropout=False,
        batch_size=1 if spec.dataset is None else passes.batch_size,
        sequence_length=passes.sequence_length,
        value_bytes=passes.value_bytes,
        gradient_checkpointing=True,
    )


def has_gpu(resources: Resources) -> bool:
    """Whether a container gets a GPU: an extended resource such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.10gb``."""
    return any(name.endswith("/gpu") or "/mig-" in name for name in {**resources.requests, **resources.limits})


def trainer_resources(spec: LoraAdapterSpec, base: ResolvedBase, *, imports: bool = False) -> dict[str, Any]:
    """Return the resources of the trainer's container, with a request for memory where the user gives none.

    Kubernetes takes a limit for the request where only that is given.
    """
    chosen = spec.pod.resources
    resources = chosen.to_wire()
    if "memory" in {**chosen.requests, **chosen.limits} or base.shape is None:
        return resources
    shape = base.shape.with_parameters(base.parameters)
    setup = import_setup(spec, base) if imports else training_setup(spec, base)
    needed = host_bytes_beside_gpu(shape, setup) if has_gpu(chosen) else estimate_cpu(shape, setup).total
    processes = 1 if imports else spec.pod.processes_per_node
    mebibytes = math.ceil(needed * processes * REQUEST_HEADROOM / MEBIBYTE)
    return resources | {"requests": {**chosen.requests, "memory": f"{mebibytes}Mi"}}


def cpus_variable(resources: Resources) -> list[dict[str, Any]]:
    """Return the variable that tells the trainer its CPUs, rounded up; none where the user says nothing of them.

    Torch would count the node's cores, and more threads than the container's share only wait for one another.
    """
    source = "limits" if "cpu" in resources.limits else "requests"
    if "cpu" not in {**resources.requests, **resources.limits}:
        return []
    return [
        {
            "name": CPUS_VARIABLE,
            "valueFrom": {"resourceFieldRef": {"resource": f"{source}.cpu", "divisor": "1"}},
        }
    ]
