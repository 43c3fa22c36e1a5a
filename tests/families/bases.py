"""Tiny bases that an engine on a CPU can compute: its attention has kernels for heads of 32 and more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.trainer import families
from transformers import AutoConfig

WIDER: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "global_head_dim": 32,
    "n_embd": 128,
    "n_inner": 192,
    "d_model": 128,
    "ffn_dim": 192,
    "word_embed_proj_dim": 128,
    # Random weights as small as usual make a model that says next to nothing: every answer would be a near tie.
    "initializer_range": 0.1,
    "init_std": 0.1,
}
"""Set wherever a configuration has a field of this name."""
SPECIAL: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_key_value_heads": 4, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32, "v_head_dim": 32},
    "deepseek_v3": {"num_key_value_heads": 4, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32, "v_head_dim": 32},
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_d_head": 32},
    "granitemoehybrid": {"mamba_d_head": 64},
    "nemotron_h": {"mamba_head_dim": 32},
}


def save(model_type: str, folder: Path) -> Path:
    """Write a base of a type, with a tokenizer and a chat template."""
    plain = AutoConfig.for_model(model_type)
    known = set(plain.to_dict()) | set(getattr(plain, "attribute_map", {}))
    changes = {name: value for name, value in WIDER.items() if name in known}
    return families.save(model_type, folder, **(changes | SPECIAL.get(model_type, {})))
