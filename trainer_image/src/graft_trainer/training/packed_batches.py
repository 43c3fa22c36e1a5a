"""Batches of packed rows, which must not see one another.

Positions begin again with each row, from which Transformers makes a block-diagonal mask where it is given no padding
mask (`transformers.masking_utils.find_packed_sequence_indices`). So no padding mask is ever given: the padding at a
sequence's end is one more row, that nothing is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from graft_trainer.data.rows import IGNORED
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.training.features import Features

PROBE_LENGTH = 8
"""Tokens of each row with which a model is asked whether it keeps rows apart."""


@dataclass(frozen=True, slots=True)
class PackedCollator:
    """Makes a batch of packed sequences, padded to the longest."""

    pad_token_id: int

    def __call__(self, sequences: Sequence[Features]) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``labels`` and ``position_ids``, each of shape (sequences, tokens)."""
        longest = max(len(sequence["input_ids"]) for sequence in sequences)
        batch: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
        for sequence in sequences:
            missing = longest - len(sequence["input_ids"])
            batch["input_ids"].append(sequence["input_ids"] + [self.pad_token_id] * missing)
            batch["labels"].append(sequence["labels"] + [IGNORED] * missing)
            batch["position_ids"].append(sequence["position_ids"] + list(range(missing)))
        return {name: torch.tensor(values) for name, values in batch.items()}


def check_rows_are_kept_apart(model: PreTrainedModel) -> None:
    """Change a row and see that the one after it in the same sequence doesn't notice.

    Raises InvalidConfigError where it does: not every architecture, nor every method, has a mask that heeds positions.
    """
    tokens = torch.arange(2 * PROBE_LENGTH, device=model.device)
    positions = tokens.remainder(PROBE_LENGTH)[None]
    changed = torch.where(tokens < PROBE_LENGTH, tokens + 1, tokens)
    was_training = model.training
    model.eval()
    # Not inference_mode(): a sharded base gathers its weights here, into tensors that the training uses again.
    with torch.no_grad():
        first, second = (
            model(input_ids=ids[None], position_ids=positions, use_cache=False).logits[0, -PROBE_LENGTH:]
            for ids in (tokens, changed)
        )
    model.train(was_training)
    if not torch.allclose(first, second, rtol=1e-4, atol=1e-4):
        field = "spec.training.packing"
        raise InvalidConfigError(
            f"{field}: rows of one sequence would see one another on this base with this method; turn packing off",
            field=field,
        )
