"""PiSSA's beginning and end: the base's principal components leave the base, and come back as a plain LoRA adapter.

The adapter begins as the largest singular triplets of each weight, W = W_residual + scale * B0 A0, and only the
residual is frozen. What is published must fit the unchanged base, so it is the difference, scale * (B A - B0 A0): a
LoRA adapter of twice the rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

from graft_trainer.training.checkpoint import ADAPTER_FILES

INITIALIZATION: Final = "pissa_niter_16"
"""Randomised decomposition with 16 subspace iterations: seconds where the exact one takes minutes, for nearly the same
error (arXiv:2404.02948, table 4)."""


def store_beginning(model: PeftModel, path: Path) -> None:
    """Keep A0 and B0 of a model that PEFT has just initialised: they are part of every checkpoint."""
    # PEFT would take the components out of the base once more when it loads weights into an adapter that says "pissa".
    model.peft_config["default"].init_lora_weights = True
    weights = {name: tensor.clone().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, path, metadata={"format": "pt"})


@torch.no_grad()
def restore_beginning(model: PeftModel, path: Path) -> None:
    """Take the stored components out of an untouched base, by the same arithmetic as PEFT's ``pissa_init``."""
    beginning = load_file(path, device=str(model.device))
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        a, b = (beginning[f"{name}.{matrix}.weight"] for matrix in ("lora_A", "lora_B"))
        weight = module.get_base_layer().weight
        residual = weight.data.to(torch.float32) - module.scaling["default"] * b @ a
        weight.data = residual.to(weight.dtype)


def convert_to_lora(model: PeftModel, adapter: Path, beginning: Path) -> None:
    """Rewrite the files of a trained adapter as those of the LoRA adapter that does the same to the unchanged base."""
    config_file, weights_file = ADAPTER_FILES
    set_peft_model_state_dict(model, load_file(adapter / weights_file))
    initial = adapter.parent / "beginning"
    initial.mkdir(exist_ok=True)
    (initial / weights_file).write_bytes(beginning.read_bytes())
    model.save_pretrained(str(adapter), path_initial_model_for_weight_conversion=str(initial))
    for path in adapter.iterdir():
        if path.name not in (config_file, weights_file):
            path.unlink()
