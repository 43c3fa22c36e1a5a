"""Adapters for one base, right and wrong, as the engine may be given them. Weights are random: nothing is trained."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def build_adapters(base: Path, folder: Path) -> None:
    """Write one folder per adapter; names are those of :data:`ADAPTERS`."""
    shutil.rmtree(folder, ignore_errors=True)
    for seed, (name, make) in enumerate(ADAPTERS.items()):
        with warnings.catch_warnings(action="ignore"):  # PEFT warns of the very combinations that are tried here
            make(base, folder / name, seed)
        for path in (folder / name).iterdir():
            path.chmod(0o644)  # safetensors writes files that only their owner may read; the engine is somebody else


def trained_by_peft(config: Callable[[], Any]) -> Callable[[Path, Path, int], None]:
    """Return a maker of an adapter in PEFT's own files."""

    def make(base: Path, folder: Path, seed: int) -> None:
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and "modules_to_save" not in name:
                    parameter.normal_(std=0.2)
        model.save_pretrained(folder)

    return make


def changed(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path, Path, int], None]:
    """Return a maker of an adapter whose tensors were changed after training."""

    def make(base: Path, folder: Path, seed: int) -> None:
        lora()(base, folder, seed)
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return make


def described_as(**fields: Any) -> Callable[[Path, Path, int], None]:
    """Return a maker of an adapter whose configuration claims something else than was done."""

    def make(base: Path, folder: Path, seed: int) -> None:
        lora()(base, folder, seed)
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | fields))

    return make


def lora(rank: int = 8, **fields: Any) -> Callable[[Path, Path, int], None]:
    """Return a maker of a LoRA adapter over all linear layers."""
    settings = {"r": rank, "lora_alpha": 2 * rank, "target_modules": list(LINEAR), "task_type": "CAUSAL_LM"} | fields
    return trained_by_peft(lambda: LoraConfig(**settings))


def narrower(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors as if they belonged to a base of half the width."""
    return {
        name: (tensor[:, : tensor.shape[1] // 2] if "lora_A" in name else tensor[: tensor.shape[0] // 2]).contiguous()
        for name, tensor in tensors.items()
    }


def deeper(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with one layer more than the base has."""
    of_first = {name: tensor for name, tensor in tensors.items() if ".layers.0." in name}
    return tensors | {name.replace(".layers.0.", ".layers.99."): tensor.clone() for name, tensor in of_first.items()}


ADAPTERS: Mapping[str, Callable[[Path, Path, int], None]] = {
    "plain": lora(),
    "sibling": lora(),
    "stabilized": lora(use_rslora=True),
    "patterned": lora(rank_pattern={"q_proj": 4}, alpha_pattern={"q_proj": 8}),
    "odd-rank": lora(rank=12),
    "too-high": lora(rank=32),
    "decomposed": lora(use_dora=True),
    "principal": described_as(init_lora_weights="pissa"),
    "with-head": lora(modules_to_save=["lm_head"]),
    "scaling": trained_by_peft(
        lambda: IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    ),
    "narrow": changed(narrower),
    "deep": changed(deeper),
}
"""Name → maker. The engine of these tests accepts ranks up to 16."""
