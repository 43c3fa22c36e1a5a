"""What every contestant reads of the run document, whatever it is trained with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import LoraConfig

    from graft_trainer.config import RunConfig


def lora_config(config: RunConfig) -> LoraConfig:
    """Return the adapter of the run as PEFT's configuration."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules="all-linear",
    )


def records_of(config: RunConfig) -> list[dict[str, Any]]:
    """Return what the run's file holds."""
    source = config.rows.source.file
    assert source is not None
    return [json.loads(line) for line in source.path.read_text().splitlines()]
