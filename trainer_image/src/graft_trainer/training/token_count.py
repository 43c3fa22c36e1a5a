"""Counts the tokens that a training has seen: those of rows, not those that fill a batch up to its longest sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Trainer

from graft_trainer.data.rows import IGNORED


class TokenCountingTrainer(Trainer):  # type: ignore[misc] # Transformers is untyped here
    """Keeps `state.num_input_tokens_seen`, over all workers, by what :func:`tokens_of_rows` counts.

    The Trainer's own count without padding needs a padding mask, which packed batches don't have.
    """

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Count a micro-batch, then train on it."""
        counted = tokens_of_rows(inputs).to(self.args.device)
        self.state.num_input_tokens_seen += int(self.accelerator.gather(counted).sum())
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss


def tokens_of_rows(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the number of tokens in a batch without its padding, as a tensor without dimensions.

    Tensors of the batch have the shape (sequences, tokens). Without an ``attention_mask`` the sequences are packed:
    each row's ``position_ids`` begin with 0, and padding is a last row that nothing is learned from.
    """
    if "attention_mask" in batch:
        return batch["attention_mask"].sum()
    positions, labels = batch["position_ids"], batch["labels"]
    length = positions.shape[1]
    columns = torch.arange(length, device=positions.device).expand_as(positions)
    last_row = torch.where(positions == 0, columns, 0).amax(dim=1)
    last_label = torch.where(labels != IGNORED, columns, -1).amax(dim=1)
    return torch.where(last_label >= last_row, length, last_row).sum()
