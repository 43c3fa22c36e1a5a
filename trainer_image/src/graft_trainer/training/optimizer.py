"""Chooses the optimizer of a method."""

from __future__ import annotations

import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer

from graft_trainer.config import TrainingHyperparameters
from graft_trainer.methods.table import Method


def optimizer_name(method: Method) -> str:
    """Choose AdamW, with 8-bit state beside a quantized base; only CUDA can page that state out (QLoRA §3)."""
    if not method.quantized:
        return "adamw_torch"
    return "paged_adamw_8bit" if torch.cuda.is_available() else "adamw_bnb_8bit"


def lora_plus_optimizer(
    model: PeftModel, hyperparameters: TrainingHyperparameters, *, ratio: float
) -> torch.optim.Optimizer:
    """Return AdamW whose learning rate is ``ratio`` times as high for the matrices B (LoRA+, arXiv:2402.12354)."""
    optimizer: torch.optim.Optimizer = create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=hyperparameters.learning_rate,
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=hyperparameters.weight_decay,
    )
    return optimizer
