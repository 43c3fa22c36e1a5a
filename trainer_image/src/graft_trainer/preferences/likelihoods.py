"""How likely a model finds answers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graft_trainer.data.rows import IGNORED

Batch = Mapping[str, torch.Tensor]
"""``input_ids``, ``attention_mask`` and ``labels`` of shape [examples, answers, tokens]."""


def log_likelihoods(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the log-likelihoods [examples, answers], in nats: of each answer the sum over its tokens.

    A batch of all answers together passes through the model once, so that what is computed of two answers to one
    prompt is padded alike.
    """
    examples, answers, length = batch["input_ids"].shape
    inputs = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask")}
    # Trained prompts come before the row's own tokens, so these are counted from the end.
    logits = model(**inputs).logits[:, -length:-1].float()
    targets = batch["labels"].flatten(0, 1)[:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), targets.to(logits.device), ignore_index=IGNORED, reduction="none"
    )
    return -losses.sum(-1).view(examples, answers)


def answers_at(batch: Batch, first: int, last: int) -> Batch:
    """Return a batch with some of its answers: those from ``first`` up to ``last``."""
    return {name: batch[name][:, first:last] for name in ("input_ids", "attention_mask", "labels")}
