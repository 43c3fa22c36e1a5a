"""Small real files and documents for registry tests; every builder takes overrides."""

import json
import math
from pathlib import Path
from typing import Any

from graft_registry.digests import digest_of
from graft_registry.documents import (
    AdapterShape,
    BaseLocation,
    BaseManifest,
    BaseReference,
    BaseSource,
    DatasetRecord,
    S3Source,
    VersionDraft,
    VersionManifest,
    timestamp,
)
from graft_registry.models.fingerprint import identify
from graft_registry.models.safetensors_header import TensorInfo

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HIDDEN, INTERMEDIATE, VOCABULARY, LAYERS = 8, 16, 32, 2
ITEM_BYTES = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "F64": 8}

Tensors = dict[str, tuple[str, tuple[int, ...]]]


def safetensors_bytes(tensors: Tensors, fill: bytes = b"\0", metadata: dict[str, str] | None = None) -> bytes:
    sizes = {name: math.prod(shape) * ITEM_BYTES[dtype] for name, (dtype, shape) in tensors.items()}
    filled = {name: (dtype, shape, fill * sizes[name]) for name, (dtype, shape) in tensors.items()}
    return safetensors_file(filled, metadata)


def safetensors_file(
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, str] | None = None
) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + len(data)]}
        position += len(data)
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(data for _, _, data in tensors.values())


def model_tensors(layers: int = LAYERS, *, tied: bool = True) -> Tensors:
    tensors: Tensors = {"model.embed_tokens.weight": ("F32", (VOCABULARY, HIDDEN))}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        tensors[f"{prefix}.self_attn.q_proj.weight"] = ("F32", (HIDDEN, HIDDEN))
        tensors[f"{prefix}.self_attn.v_proj.weight"] = ("F32", (HIDDEN // 2, HIDDEN))
        tensors[f"{prefix}.mlp.up_proj.weight"] = ("F32", (INTERMEDIATE, HIDDEN))
        tensors[f"{prefix}.input_layernorm.weight"] = ("F32", (HIDDEN,))
    tensors["model.norm.weight"] = ("F32", (HIDDEN,))
    if not tied:
        tensors["lm_head.weight"] = ("F32", (VOCABULARY, HIDDEN))
    return tensors


def model_config(**overrides: Any) -> dict[str, Any]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": True,
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "dtype": "float32",
    }
    return {name: value for name, value in {**config, **overrides}.items() if value is not ...}


def write_model(directory: Path, *, fill: bytes = b"\0", tensors: Tensors | None = None, **config: Any) -> Path:
    """Write a tiny model; a config override of ``...`` removes the field."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(model_config(**config)))
    (directory / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    (directory / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors or model_tensors(), fill))
    return directory


def base_manifest(directory: Path, **overrides: Any) -> BaseManifest:
    identity = identify(directory)
    fields: dict[str, Any] = {
        "namespace": "team-a",
        "name": "tiny",
        "digest": identity.digest,
        "source": BaseSource(s3=S3Source(uri="s3://models/tiny")),
        "revision": digest_of("revision"),
        "weights_digest": identity.weights_digest,
        "fingerprint": identity.fingerprint,
        "linear_modules": identity.linear_modules,
        "parameters": identity.parameters,
        "location": BaseLocation(registry=True),
        "files": identity.files,
        "created_time": timestamp(),
    }
    return BaseManifest(**{**fields, **overrides})


def adapter_config(**overrides: Any) -> dict[str, Any]:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "bias": "none"}
    return {**config, **overrides}


def adapter_tensors(rank: int = 4, layers: int = LAYERS, hidden: int = HIDDEN) -> Tensors:
    tensors: Tensors = {}
    for layer in range(layers):
        for module, rows in (("q_proj", hidden), ("v_proj", hidden // 2)):
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{prefix}.lora_A.weight"] = ("F32", (rank, hidden))
            tensors[f"{prefix}.lora_B.weight"] = ("F32", (rows, rank))
    return tensors


def tensor_infos(tensors: Tensors) -> list[TensorInfo]:
    return [TensorInfo(name, dtype, shape, (0, 0)) for name, (dtype, shape) in tensors.items()]


def write_adapter(directory: Path, *, fill: bytes = b"\0", tensors: Tensors | None = None, **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG).write_text(json.dumps(adapter_config(**config)))
    (directory / WEIGHTS).write_bytes(safetensors_bytes(tensors or adapter_tensors(), fill))
    return directory


def version_draft(recipe: object = "recipe", **overrides: Any) -> VersionDraft:
    fields: dict[str, Any] = {
        "namespace": "team-a",
        "adapter": "support",
        "recipe": digest_of(recipe),
        "reason": "SpecChanged",
        "uid": "0b5c",
        "generation": 1,
        "base": BaseReference(
            name="tiny", revision="r1", digest=digest_of("base"), source=BaseSource(s3=S3Source(uri="s3://models/tiny"))
        ),
        "dataset": DatasetRecord(uri="s3://data/rows.jsonl", digest=digest_of("rows"), rows=10),
        "method": "LoRA",
        "trained_on": "float32",
        "servable": "MultiAdapter",
        "hyperparameters": {"lora": {"rank": 4}},
        "seed": 42,
        "shape": AdapterShape(
            rank=4, alpha=8, target_modules=("q_proj", "v_proj"), trainable_parameters=224, all_parameters=1000
        ),
        "libraries": {"torch": "2.13.0"},
    }
    return VersionDraft(**{**fields, **overrides})


def version_on(base: BaseManifest, **overrides: Any) -> VersionManifest:
    draft = version_draft(**overrides)
    identity = {
        "digest": base.digest,
        "tokenizer_digest": base.fingerprint.tokenizer_digest,
        "chat_template_digest": base.fingerprint.chat_template_digest,
    }
    reference = draft.base.model_copy(update=identity)
    return VersionManifest(**{**dict(draft), "base": reference}, number=1, files=(), created_time=timestamp())
