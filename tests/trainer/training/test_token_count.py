"""What a training says it has seen are tokens of rows, whatever batches were filled up with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.training.features import Features
from graft_trainer.training.packed_batches import PackedCollator
from graft_trainer.training.packing import packed_features
from graft_trainer.training.token_count import TokenCountingTrainer, tokens_of_rows

PAD = 0


def row(length: int, *, unlearned_end: int = 0) -> Row:
    """Return a row whose last tokens may be none that it is trained on; all of them look like padding."""
    labels = [IGNORED] + [PAD] * (length - 1 - unlearned_end) + [IGNORED] * unlearned_end
    return Row.labelled([PAD] * length, labels, truncated=False)


def padded(sequences: list[Features]) -> dict[str, torch.Tensor]:
    """Return the sequences as batches that are not packed have them: with a padding mask."""
    batch = PackedCollator(PAD)(sequences)
    lengths = torch.tensor([len(sequence["input_ids"]) for sequence in sequences])
    del batch["position_ids"]
    return batch | {"attention_mask": (torch.arange(batch["labels"].shape[1]) < lengths[:, None]).long()}


PACKED: dict[str, tuple[list[list[Row]], int]] = {
    "one full sequence": ([[row(3), row(2)]], 5),
    "a shorter sequence is filled up": ([[row(3), row(4)], [row(2)]], 9),
    "one token of padding": ([[row(5)], [row(2), row(2)]], 9),
    "a row's end that nothing is learned from is no padding": ([[row(6)], [row(4, unlearned_end=2)]], 10),
}


@pytest.mark.parametrize(("groups", "tokens"), PACKED.values(), ids=PACKED)
def test_padding_of_packed_sequences_is_not_counted(groups: list[list[Row]], tokens: int) -> None:
    assert tokens_of_rows(PackedCollator(PAD)([packed_features(group) for group in groups])) == tokens


@pytest.mark.parametrize("collator", [PackedCollator(PAD), padded], ids=["packed", "with a padding mask"])
def test_a_training_has_seen_every_token_of_its_rows_once_an_epoch(collator: Any, tmp_path: Path) -> None:
    sizes = {"vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1}
    trainer = TokenCountingTrainer(
        LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=1)),
        TrainingArguments(
            str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            save_strategy="no",
            remove_unused_columns=False,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
        ),
        data_collator=collator,
        train_dataset=[packed_features([row(length)]) for length in (2, 7, 3, 5)],
    )
    trainer.train()
    assert trainer.state.num_input_tokens_seen == 2 * (2 + 7 + 3 + 5)
