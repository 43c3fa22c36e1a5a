"""Tiny bases that an engine on a CPU can compute: its attention has kernels for heads of 32 and more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.trainer import families
from tests.trainer.toy_base import CHAT_TEMPLATE, SPECIAL_TOKENS
from tests.trainer.toy_task import EVALUATION, TRAINING
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, PreTrainedTokenizerFast

WIDER: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "global_head_dim": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
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
LATENT_ATTENTION: dict[str, Any] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "head_dim": 64,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}
"""The engine's kernel on a CPU has one size of what is kept of a token: 512 and 64, those of the models published."""
SPECIAL: dict[str, dict[str, Any]] = {
    "deepseek_v2": LATENT_ATTENTION,
    # Transformers has one way to choose experts, which every config.json published names all the same.
    "deepseek_v3": LATENT_ATTENTION | {"topk_method": "noaux_tc"},
    "gemma4_text": {"head_dim": 32, "global_head_dim": 32},
    # What it makes of multi_query by itself.
    "gpt_bigcode": {"num_key_value_heads": 1},
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_d_head": 32},
    "granitemoehybrid": {"mamba_d_head": 64},
    # Transformers can do without these; the engine can't, and every config.json published has them.
    "glm4_moe": {"head_dim": 32},
    "lfm2": {"block_dim": 128, "conv_dim": 128},
    "nemotron_h": {"mamba_head_dim": 32},
    # The engine's class has them always, as the models published have.
    "phimoe": {"attention_bias": True, "lm_head_bias": True},
    # The three parts of half a head: time, height, width.
    "qwen2_5_vl_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}},
    # A whole number of the engine's blocks; one expert for each token, as the models published have.
    "llama4_text": {"attention_chunk_size": 128, "num_experts_per_tok": 1},
}


BYTE_LEVEL = frozenset({"qwen2", "qwen3_5", "qwen3_5_text", "qwen3_5_moe_text"})
"""Of these Transformers reads every tokenizer.json as one of Qwen's own kind, whatever it says itself."""
PUBLISHED_AS = {"phimoe": "PhiMoEForCausalLM"}
"""What published models call their class where Transformers' own has another name; engines choose by it."""
VOCABULARY = 384
"""Of the tokenizer of bytes: all 256, the special tokens, and the commonest pairs."""


def save(model_type: str, folder: Path) -> Path:
    """Write a base of a type, with a tokenizer and a chat template."""
    plain = AutoConfig.for_model(model_type).get_text_config()
    known = set(plain.to_dict()) | set(getattr(plain, "attribute_map", {}))
    changes = {name: value for name, value in WIDER.items() if name in known} | SPECIAL.get(plain.model_type, {})
    if model_type not in BYTE_LEVEL:
        families.save(model_type, folder, **changes)
    else:
        families.save(model_type, folder, **changes, vocab_size=VOCABULARY)
        byte_tokenizer().save_pretrained(folder)
    if model_type in PUBLISHED_AS:
        _call(folder / "config.json", PUBLISHED_AS[model_type])
    return folder


def _call(path: Path, architecture: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": [architecture]}, indent=2))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes and their pairs, as those of Qwen are, with the chat template of the others."""
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = bytes_
    tokenizer.decoder = decoders.ByteLevel()
    texts = [message["content"] for row in TRAINING + EVALUATION for message in row["messages"]]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=bytes_.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
