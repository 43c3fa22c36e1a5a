"""The Trainer's datasets and collators: for single rows, for packed rows, or for preferences."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from graft_trainer.config import TrainingHyperparameters
from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.preferences.batches import PreferenceCollator, preference_features, preference_rows
from graft_trainer.training.features import row_features
from graft_trainer.training.packed_batches import PackedCollator
from graft_trainer.training.packing import pack, packed_features

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


def batching(
    rows: Sequence[Row],
    eval_rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    hyperparameters: TrainingHyperparameters,
) -> dict[str, Any]:
    """Return the Trainer's arguments for datasets and collator. Rows are never packed for evaluation."""
    if hyperparameters.objective != "SFT":
        return {
            "data_collator": PreferenceCollator(tokenizer),
            "train_dataset": LazyDataset(preference_rows(rows), preference_features),
            "eval_dataset": LazyDataset(preference_rows(eval_rows), preference_features),
        }
    if not hyperparameters.packing:
        return {
            "data_collator": DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
            "train_dataset": LazyDataset(rows, row_features),
            "eval_dataset": LazyDataset(eval_rows, row_features),
        }
    groups = pack(rows, max_length=hyperparameters.max_sequence_length)
    logger.info("packed %d rows into %d sequences", len(rows), len(groups))
    return {
        "data_collator": PackedCollator(tokenizer.pad_token_id),
        "train_dataset": LazyDataset(groups, packed_features),
        "eval_dataset": LazyDataset(eval_rows, lambda row: packed_features([row])),
    }


class LazyDataset(Dataset[dict[str, Any]], Generic[Item]):
    """A dataset that makes an item's features when it is asked for: all rows as lists take ten times the memory."""

    def __init__(self, items: Sequence[Item], features: Callable[[Item], dict[str, Any]]) -> None:
        self._items = items
        self._features = features

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the features of one item."""
        return self._features(self._items[index])
