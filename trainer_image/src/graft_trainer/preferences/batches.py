"""Batches of preferences: each example with the row that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from graft_trainer.data.rows import IGNORED, PreferenceRow, Row
from graft_trainer.training.features import row_features

WANTED = "wanted"
"""Whether each example's answer is one to give."""


class PreferenceCollator:
    """Makes a batch of preferences: tensors [examples, 2, tokens], padded to the longest, and labels of answers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, and ``wanted`` of shape [examples]."""
        flat = self._collate([answer for example in examples for answer in example["answers"]])
        batch = {name: tensor.view(len(examples), -1, tensor.shape[-1]) for name, tensor in flat.items()}
        return batch | {WANTED: torch.tensor([example[WANTED] for example in examples])}


def preference_features(row: PreferenceRow) -> dict[str, Any]:
    """Return one example for the collator."""
    return {"answers": [row_features(row), row_features(row.other)], WANTED: row.wanted}


def preference_rows(rows: Sequence[Row]) -> Sequence[PreferenceRow]:
    """Return the rows, all of which are preferences, as such."""
    return cast("Sequence[PreferenceRow]", rows)
