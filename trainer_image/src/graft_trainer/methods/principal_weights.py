"""PiSSA's initialisation, and the conversion of its result to a plain LoRA adapter (arXiv:2404.02948).

The adapter begins as the largest singular triplets of each weight, W = W_residual + scale * B0 A0, and what is frozen
is the residual. The published adapter has to fit the unchanged base, so it is the difference, scale * (B A - B0 A0),
which is a LoRA adapter of twice the rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from peft import PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from graft_trainer.training.checkpoint import ADAPTER_FILES, save_adapter_weights

INITIALIZATION: Final = "pissa_niter_16"
"""Randomised decomposition with 16 subspace iterations: seconds where the exact one takes minutes, for nearly the same
error (arXiv:2404.02948, table 4)."""


def store_initial(model: PeftModel, path: Path) -> None:
    """Save A0 and B0 of a model that PEFT has just initialised: they are part of every checkpoint."""
    # PEFT would take the components out of the base once more when it loads weights into an adapter that says "pissa".
    model.peft_config["default"].init_lora_weights = True
    save_adapter_weights(model, path)


@torch.no_grad()
def restore_residual(model: PeftModel, path: Path) -> None:
    """Subtract the stored A0 and B0 from an untouched base, by the same arithmetic as PEFT's ``pissa_init``."""
    initial = load_file(path, device=str(model.device))
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        a, b = (initial[f"{name}.{matrix}.weight"] for matrix in ("lora_A", "lora_B"))
        weight = module.get_base_layer().weight
        residual = weight.data.to(torch.float32) - module.scaling["default"] * b @ a
        weight.data = residual.to(weight.dtype)


def convert_to_lora(model: PeftModel, adapter: Path, initial: Path) -> None:
    """Rewrite the files of a trained adapter as the plain LoRA adapter that has the same effect on the unchanged base.

    ``initial`` is the file that :func:`store_initial` wrote.
    """
    config_file, weights_file = ADAPTER_FILES
    set_peft_model_state_dict(model, load_file(adapter / weights_file))
    initial_folder = adapter.parent / "initial"
    initial_folder.mkdir(exist_ok=True)
    (initial_folder / weights_file).write_bytes(initial.read_bytes())
    model.save_pretrained(str(adapter), path_initial_model_for_weight_conversion=str(initial_folder))
    for path in adapter.iterdir():
        if path.name not in (config_file, weights_file):
            path.unlink()
