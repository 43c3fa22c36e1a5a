"""EVA's beginning: the principal components of what each layer sees, and ranks shared out by how much they explain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from peft import EvaConfig, LoraConfig, PeftModel, initialize_lora_eva_weights
from torch.nn.utils.rnn import pad_sequence

from graft_trainer.data.rows import Row
from graft_trainer.training.checkpoint import ADAPTER_FILES

RHO: Final = 2.0
"""A layer may get up to this many times the rank that was asked for (arXiv:2410.07170, §3); the sum over all layers
stays the same. PEFT's default."""
MAX_ROWS: Final = 512
"""Rows that are looked at. The components settle after a few batches (arXiv:2410.07170, figure 5)."""
TOKENS_PER_COMPONENT: Final = 4
"""Tokens of a batch per component that is looked for: PEFT needs one, more make the components settle sooner."""
SHARED_OUT: Final = ("rank_pattern", "alpha_pattern", "target_modules")
"""What EVA decides of the adapter's shape."""


def configure(config: LoraConfig, resumed: Path | None) -> None:
    """Ask PEFT for EVA, or for the shape that EVA has given to the adapter of a checkpoint."""
    if resumed is None:
        config.init_lora_weights = "eva"
        # Masked to the answers, short ones would leave too few tokens for a decomposition.
        config.eva_config = EvaConfig(rho=RHO, use_label_mask=False)
        return
    shape = json.loads((resumed / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    for name in SHARED_OUT:
        setattr(config, name, shape[name])


def initialize(model: PeftModel, rows: Sequence[Row]) -> None:
    """Set the adapter's A matrices and ranks from the layers' inputs on the training rows.

    Raises ValueError where all rows together have too few tokens for a decomposition.
    """
    config = model.peft_config["default"]
    tokens = TOKENS_PER_COMPONENT * round(RHO * config.r)
    batches = _batches(rows[:MAX_ROWS], tokens)
    initialize_lora_eva_weights(model, batches, gather_distributed_inputs=False, show_progress_bar=False)
    model.train()
    # From here on it is a plain LoRA adapter: a resumed run, whose adapter is one from the start, writes the same file.
    config.init_lora_weights = True
    config.eva_config = None


def _batches(rows: Sequence[Row], tokens: int) -> list[dict[str, torch.Tensor]]:
    """Group rows so that each batch has at least so many tokens: for a larger batch PEFT would wait for ever."""
    batches: list[dict[str, torch.Tensor]] = []
    group: list[torch.Tensor] = []
    for row in rows:
        group.append(torch.tensor(row.input_ids))
        if sum(map(len, group)) >= tokens:
            batches.append(_padded(group))
            group = []
    if not batches:
        raise ValueError(
            f"EVA needs {tokens} tokens of training rows, but there are {sum(map(len, group))}; "
            "lower spec.lora.rank or choose method LoRA"
        )
    return batches


def _padded(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Stack rows of different lengths; PEFT leaves out what the mask leaves out."""
    return {
        "input_ids": pad_sequence(rows, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
    }
