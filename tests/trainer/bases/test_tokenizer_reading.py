"""Bases whose tokenizer.json is not of the kind that Transformers takes for their model_type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer import families
from tests.trainer.toy_base import SPECIAL_TOKENS, word_tokenizer
from tests.trainer.toy_task import EVALUATION, TRAINING
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from graft_trainer.model import load_tokenizer
from graft_trainer.outcome import BaseMismatchError

TEXTS = [message["content"] for row in TRAINING + EVALUATION for message in row["messages"]]
QUESTION = "what is the oak"


def words() -> PreTrainedTokenizerFast:
    return word_tokenizer()


def unigrams() -> PreTrainedTokenizerFast:
    return trained(Tokenizer(models.Unigram()), trainers.UnigramTrainer(**of_size(200), unk_token="<unk>"))


def pairs_of_characters() -> PreTrainedTokenizerFast:
    return trained(Tokenizer(models.BPE(unk_token="<unk>")), trainers.BpeTrainer(**of_size(200)))


def pairs_of_bytes() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer(**of_size(400), initial_alphabet=alphabet))


def padded() -> PreTrainedTokenizerFast:
    """As files are that were saved after a batch was made of them."""
    tokenizer = pairs_of_bytes()
    tokenizer.backend_tokenizer.enable_padding(length=512)
    tokenizer.backend_tokenizer.enable_truncation(8)
    return tokenizer


def of_size(size: int) -> dict[str, Any]:
    return {"vocab_size": size, "special_tokens": list(SPECIAL_TOKENS), "show_progress": False}


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> PreTrainedTokenizerFast:
    if tokenizer.pre_tokenizer is None:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")


def save(model_type: str, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    families.configuration(model_type).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3_5_moe_text"])
@pytest.mark.parametrize("tokenizer", [words, unigrams, pairs_of_characters])
def test_a_tokenizer_of_another_kind_is_refused_where_most_words_would_be_lost(
    model_type: str, tokenizer: Callable[[], PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    with pytest.raises(BaseMismatchError, match=r"tokenizer\.json is not of its kind of model: .*Qwen") as raised:
        load_tokenizer(save(model_type, tokenizer(), tmp_path))
    assert raised.value.field == "spec.baseModelRef"


@pytest.mark.parametrize(
    ("model_type", "tokenizer"),
    [
        ("qwen2", pairs_of_bytes),
        ("qwen2", padded),
        *(("llama", form) for form in (words, unigrams, pairs_of_characters, pairs_of_bytes)),
        *(("gemma3_text", form) for form in (words, unigrams, pairs_of_characters, pairs_of_bytes)),
    ],
)
def test_a_tokenizer_that_is_read_as_it_says_is_taken(
    model_type: str, tokenizer: Callable[[], PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    own = tokenizer()
    loaded = load_tokenizer(save(model_type, own, tmp_path))
    assert loaded.decode(loaded(QUESTION)["input_ids"]).strip() == QUESTION
    assert loaded(QUESTION)["input_ids"] == own(QUESTION)["input_ids"]
