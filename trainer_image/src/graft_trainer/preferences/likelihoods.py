"""How likely a model finds answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel

from graft_trainer.data.rows import IGNORED

Batch = Mapping[str, torch.Tensor]
"""``input_ids``, ``attention_mask`` and ``labels`` of shape [examples, answers, tokens]."""


def log_likelihoods(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the log-likelihoods [examples, answers], in nats: of each answer the sum over its tokens.

    A batch of all answers together passes through the model once, so that what is computed of two answers to one
    prompt is padded alike. Logits are only computed where an answer's token is predicted: those of a prompt, of which
    nothing is learned, would take as much memory as the answer's, times the vocabulary.
    """
    inputs = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask")}
    targets = batch["labels"].flatten(0, 1)[:, 1:]
    learned = targets != IGNORED
    with _logits_only_of(model, learned):
        logits = model(**inputs).logits[0]
    learned = learned.to(logits.device)
    losses = torch.nn.functional.cross_entropy(logits.float(), targets.to(logits.device)[learned], reduction="none")
    # Not added up by index: the order of that is not the same each time on a GPU.
    spread = losses.new_zeros(learned.shape).masked_scatter(learned, losses)
    return -spread.sum(-1).view(batch["labels"].shape[:2])


@contextmanager
def _logits_only_of(model: torch.nn.Module, learned: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only the hidden states that predict learned tokens, all as one row of a batch.

    What a model does to its logits afterwards, scaling or capping, it does to each by itself. ``learned`` has the shape
    [answers, tokens - 1]: each token but the first is predicted one position before it.
    """

    def select(_: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, *others = arguments
        # Trained prompts come before the row's own tokens, so these are counted from the end.
        predicting = hidden[:, -learned.shape[1] - 1 : -1]
        return predicting[learned.to(hidden.device)][None], *others

    head = extract_model_from_parallel(model).get_output_embeddings()
    hook = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def answers_at(batch: Batch, first: int, last: int) -> Batch:
    """Return a batch with some of its answers: those from ``first`` up to ``last``."""
    return {name: batch[name][:, first:last] for name in ("input_ids", "attention_mask", "labels")}
