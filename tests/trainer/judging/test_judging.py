"""Answers are generated greedily and by nothing else, whatever the base's own configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from peft import LoraConfig, get_peft_model
from tests.trainer import families
from tests.trainer.toy_base import word_tokenizer

from graft_trainer.judging.evaluation import Question, greedy_answers

if TYPE_CHECKING:
    from peft import PeftModel


@pytest.fixture
def model() -> PeftModel:
    return get_peft_model(families.build("llama"), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))


def test_a_penalty_on_repetition_in_the_bases_configuration_changes_no_answer(model: PeftModel) -> None:
    tokenizer, questions = word_tokenizer(), [Question([0, 4, 9, 1, 5], "", "")]
    plain = greedy_answers(model, tokenizer, questions)
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.no_repeat_ngram_size = 1
    assert greedy_answers(model, tokenizer, questions) == plain


def test_an_answer_ends_at_any_token_at_which_the_base_stops(model: PeftModel) -> None:
    tokenizer, questions = word_tokenizer(), [Question([0, 4, 9, 1, 5], "", "")]
    model.generation_config.eos_token_id = [1]
    (answer,) = greedy_answers(model, tokenizer, questions)
    first = answer.token_ids[0]
    model.generation_config.eos_token_id = [1, first]
    (ended,) = greedy_answers(model, tokenizer, questions)
    assert ended.token_ids == []
    assert len(ended.margins) == 1
