"""Estimates the memory of a training or an import before it is applied, as the operator does (docs/memory.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from graft_cli.errors import Refused
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.lora_adapter import LoraAdapter, LoraAdapterSpec
from graft_operator.api.pods import Resources
from graft_operator.api.training import GpuMemory
from graft_operator.manifests.jobs.trainer_resources import has_gpu, trainer_resources
from graft_operator.plan.training import memory
from graft_registry.digests import digest_of
from graft_registry.errors import InvalidModel
from graft_registry.models.model_config import ModelConfig
from graft_registry.models.training_memory import MemoryEstimate, ModelShape, linear_layers

LLAMA_LIKE: Final = frozenset(
    f"{family}ForCausalLM"
    for family in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "SmolLM3", "Granite", "Olmo2")
)
"""Architectures whose config.json alone tells every linear layer: attention of four, a gated MLP of three."""

MOST_LAYERS: Final = 10_000

IMPORT: Final = "Import"
"""In place of the method of a training: the adapter brings its own."""

Verdict = Literal["fits", "may fit", "does not fit", "GPU not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a training of one adapter takes, or its import where nothing is trained."""

    adapter: str
    method: str
    why: str
    """Why method Auto came to that; empty with any other."""
    gpu: MemoryEstimate
    total: int
    available: int | None
    verdict: Verdict
    remedy: str
    main_memory: str
    """What the trainer's container requests, or is given by the spec."""


def report(adapter: LoraAdapter, base: ResolvedBase, *, gpu: str | None = None) -> Report:
    """Estimate a training on a GPU, that of the spec or one of ``gpu`` memory. Raises Refused without a shape."""
    spec, why = with_gpu(adapter.spec, gpu), ""
    if base.shape is None:
        fix = "wait until `kubectl get basemodel -o yaml` has status.resolved.shape, or give --base config.json"
        raise Refused("nothing is known of the base's shape", fix=fix)
    if spec.method == "Auto" and not spec.is_only_imported:
        chosen = memory.choose_method(spec, base, digest_of("estimate"))
        spec, why = spec.model_copy(update={"method": chosen.method}), chosen.message
    needed, available = memory.estimate(spec, base), memory.gpu_memory(spec.pod)
    if needed is None:
        raise Refused("nothing is known of the base's shape")
    verdict = verdict_on(needed, available)
    helps = verdict in ("may fit", "does not fit") and available is not None
    return Report(
        adapter=adapter.metadata.name,
        method=IMPORT if spec.is_only_imported else spec.method,
        why=why,
        gpu=needed,
        total=needed.total,
        available=available,
        verdict=verdict,
        remedy=memory.remedy(spec, base, available) if helps and available is not None else "",
        main_memory=main_memory(spec, base),
    )


def verdict_on(needed: MemoryEstimate, available: int | None) -> Verdict:
    """Say whether it fits, in the operator's own terms: 15 % are unsure."""
    if available is None:
        return "GPU not known"
    if needed.surely_fits(available):
        return "fits"
    return "does not fit" if needed.cannot_fit(available) else "may fit"


def with_gpu(spec: LoraAdapterSpec, gpu: str | None) -> LoraAdapterSpec:
    """Return the spec with a GPU of so much memory. Raises Refused where that is no quantity."""
    if gpu is None:
        return spec
    try:
        TypeAdapter(GpuMemory).validate_python(gpu)
    except ValidationError as error:
        raise Refused(f"--gpu-memory {gpu} is no quantity", fix="write it as 24Gi or 80G") from error
    resources = spec.pod.resources if has_gpu(spec.pod.resources) else Resources(limits={"nvidia.com/gpu": "1"})
    pod = spec.pod.model_copy(update={"gpu_memory": gpu, "resources": resources})
    return spec.model_copy(update={"pod": pod})


def main_memory(spec: LoraAdapterSpec, base: ResolvedBase) -> str:
    """Return the memory that the trainer's container asks for."""
    resources = trainer_resources(spec, base, imports=spec.is_only_imported)
    asked = {**resources.get("limits", {}), **resources.get("requests", {})}
    return str(asked.get("memory", "-"))


def base_of_config(fields: Any) -> ResolvedBase:
    """Return what a ``config.json`` tells of a base. Raises Refused where that is not every linear layer."""
    if not isinstance(fields, Mapping):
        raise Refused("config.json holds no object", fix="give the config.json of a causal language model")
    text = fields.get("text_config")
    config = ModelConfig({**text, **fields} if isinstance(text, dict) else dict(fields))
    try:
        architecture = config.architecture
        if architecture not in LLAMA_LIKE:
            fix = "import it as a BaseModel, and give that object's YAML with --base"
            raise Refused(f"config.json of {architecture} does not tell the sizes of its layers", fix=fix)
        shape = llama_shape(config)
    except InvalidModel as error:
        raise Refused(str(error), fix="give the config.json of a causal language model") from error
    return ResolvedBase(
        digest=digest_of(dict(fields)),
        revision="",
        source_digest=digest_of("config.json"),
        parameters=shape.parameters,
        architecture=architecture,
        dtype=config.dtype or "",
        shape=BaseShape.of(shape),
    )


def llama_shape(config: ModelConfig) -> ModelShape:
    """Return the shape of a Llama-like model. Raises InvalidModel where a size is missing."""
    hidden, inner = config.integer("hidden_size"), config.integer("intermediate_size")
    heads, layers, vocab = (config.integer(name) for name in ("num_attention_heads", "num_hidden_layers", "vocab_size"))
    if layers > MOST_LAYERS:  # each is gone through
        raise InvalidModel(f"config.json: num_hidden_layers must be at most {MOST_LAYERS}, got {layers}")
    attention, keys = heads * config.head_dim, config.key_value_heads * config.head_dim
    block = {
        "self_attn.q_proj": (attention, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, attention),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    linear = linear_layers({f"model.layers.{n}.{name}": size for n in range(layers) for name, size in block.items()})
    embeddings = vocab * hidden * (1 if config.tie_word_embeddings else 2)
    norms = (2 * layers + 1) * hidden
    return ModelShape(
        parameters=sum(item.weights for item in linear.values()) + embeddings + norms,
        hidden_size=hidden,
        attention_size=attention,
        intermediate_size=inner,
        layers=layers,
        vocab_size=vocab,
        linear=linear,
    )
