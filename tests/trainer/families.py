"""A tiny model of every kind that Transformers' own configuration classes make, with a tokenizer beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.trainer.toy_base import word_tokenizer
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from graft_registry.documents import BaseManifest, timestamp
from graft_registry.models.fingerprint import identify

LAYERS = 4
SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    # Mixtures of experts.
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    # Attention by low ranks.
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    # Linear attention.
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    # Names of older models.
    "n_embd": 64,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": 128,
    "n_inner": 96,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": LAYERS,
    "max_seq_len": 128,
    "ffn_dim": 96,
    "word_embed_proj_dim": 64,
    "rotary_dim": 8,
}
"""Set wherever a configuration has a field of this name."""

ALTERNATING = ["sliding_attention", "full_attention"] * (LAYERS // 2)
SPECIAL: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_key_value_heads": 4, "head_dim": 8},
    "deepseek_v3": {"num_key_value_heads": 4, "head_dim": 8},
    "qwen2_5_vl_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}},
    "mamba2": {"num_heads": 4, "head_dim": 32, "expand": 2, "state_size": 16, "n_groups": 1, "chunk_size": 16},
    "granitemoehybrid": {
        "mamba_n_heads": 4,
        "mamba_d_head": 32,
        "mamba_d_state": 16,
        "mamba_expand": 2,
        "layer_types": ["mamba", "mamba", "attention", "mamba"],
        "shared_intermediate_size": 64,
    },
    "falcon_h1": {
        "mamba_d_ssm": 64,
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "mamba_n_groups": 1,
        "mamba_expand": 1,
    },
    "gemma4_text": {
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 96,
        "global_head_dim": 16,
        "layer_types": ALTERNATING,
        "num_experts": None,
    },
    "gemma3_text": {"layer_types": ALTERNATING, "query_pre_attn_scalar": 16},
    "gpt_oss": {"layer_types": ALTERNATING},
    "llama4_text": {"interleave_moe_layer_step": 2, "intermediate_size_mlp": 96, "attention_chunk_size": 64},
    "nemotron_h": {
        "hybrid_override_pattern": "M*M-",
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "jamba": {
        "mamba_d_state": 8,
        "mamba_dt_rank": 8,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "use_mamba_kernels": False,
    },
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "depth": 1,
    "num_heads": 2,
    "embed_dim": 32,
    "image_size": 28,
    "patch_size": 14,
    "vision_output_dim": 64,
    "projector_input_dim": 64,
    "projector_output_dim": 64,
}


def configuration(model_type: str, **changes: Any) -> PreTrainedConfig:
    """Return a tiny configuration of a type; a type with pictures gets a tiny language model of its own kind."""
    plain = AutoConfig.for_model(model_type)
    if getattr(plain, "text_config", None) is not None and plain.get_text_config() is not plain:
        text = configuration(plain.text_config.model_type, **changes)
        known = set(plain.vision_config.to_dict())
        vision = {name: value for name, value in VISION.items() if name in known}
        vision["model_type"] = plain.vision_config.model_type
        if "out_hidden_size" in known:
            vision["out_hidden_size"] = text.hidden_size
        config = AutoConfig.for_model(model_type, text_config=text.to_dict(), vision_config=vision)
        config.pad_token_id = SIZES["pad_token_id"]
        return config
    known = set(plain.to_dict()) | set(getattr(plain, "attribute_map", {}))
    sizes = {name: value for name, value in SIZES.items() if name in known}
    return AutoConfig.for_model(model_type, **(sizes | SPECIAL.get(model_type, {}) | changes))


def build(model_type: str, **changes: Any) -> PreTrainedModel:
    """Make a random model of a type."""
    torch.manual_seed(0)
    config = configuration(model_type, **changes)
    mapping = MODEL_FOR_CAUSAL_LM_MAPPING
    if config.get_text_config() is not config:
        mapping = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    model: PreTrainedModel = mapping[type(config)]._from_config(config)
    return model


def save(model_type: str, folder: Path, **changes: Any) -> Path:
    """Write a random model of a type with a tokenizer, as a source of a base."""
    build(model_type, **changes).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def manifest_of(folder: Path, name: str = "tiny") -> BaseManifest:
    """Describe a source as the import does, and leave the manifest where the init container would."""
    identity = identify(folder)
    manifest = BaseManifest.model_validate(
        {
            "namespace": "team-a",
            "name": name,
            "digest": identity.digest,
            "source": {"s3": {"uri": f"s3://models/{name}"}},
            "revision": "sha256:" + "0" * 64,
            "weightsDigest": identity.weights_digest,
            "fingerprint": identity.fingerprint,
            "linearModules": identity.linear_modules,
            "parameters": identity.parameters,
            "location": {"registry": True},
            "files": identity.files,
            "createdTime": timestamp(),
        }
    )
    (folder / ".graft").mkdir(exist_ok=True)
    (folder / ".graft" / "base.json").write_bytes(manifest.to_bytes())
    return manifest
