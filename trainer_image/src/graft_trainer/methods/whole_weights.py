"""Trains weights of the base as a whole beside LoRA: its embeddings and norms, without which a context can't be made
longer (LongLoRA, arXiv:2309.12307, §3.3).
"""

from __future__ import annotations

import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel


def configure(config: LoraConfig, base: PreTrainedModel) -> None:
    """Let an adapter hold copies of the base's embeddings and norms, which are published with it."""
    config.modules_to_save = embeddings_and_norms(base)
    # An output layer that is also the embedding learns with it.
    config.ensure_weight_tying = bool(base.config.tie_word_embeddings)


def embeddings_and_norms(base: PreTrainedModel) -> list[str]:
    """Return the path of the embeddings, such as ``model.embed_tokens``, and the names of all norms, sorted."""
    embeddings = base.get_input_embeddings()
    modules = dict(base.named_modules())
    paths = [path for path, module in modules.items() if module is embeddings]
    norms = {path.rpartition(".")[2] for path, module in modules.items() if is_trainable_norm(module)}
    return sorted({*paths, *norms})


def is_trainable_norm(module: torch.nn.Module) -> bool:
    """Tell whether a module is a norm with weights; architectures have classes of their own, all of that name."""
    return "norm" in type(module).__name__.lower() and any(True for _ in module.parameters())


def hold_in_float32(model: PeftModel) -> None:
    """Keep in float32 whatever trains: bfloat16 has 8 bits, which steps of a usual learning rate don't move."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
