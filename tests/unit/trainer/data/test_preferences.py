"""Rows that say which answer is better: each form that people write them in, and what is refused of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graft_trainer.config import Objective
from graft_trainer.data.conversation import Labelled, Pair
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.preferences import READINGS

USER = {"role": "user", "content": "2+2?"}
RIGHT = {"role": "assistant", "content": "4"}
WRONG = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Be brief."}
BEFORE = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
CALL = {
    "role": "assistant",
    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}],
    "content": "",
}
RESULT = {"role": "tool", "content": "4"}


def read(row: dict[str, Any], objective: Objective) -> Any:
    reading = READINGS[objective]
    return reading.convert(row, reading.detect(row), place="x.jsonl line 1")


PAIRS: dict[str, dict[str, Any]] = {
    "TRL's texts": {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
    "TRL's turns": {"prompt": [USER], "chosen": [RIGHT], "rejected": [WRONG]},
    "TRL's implicit prompt": {"chosen": [USER, RIGHT], "rejected": [USER, WRONG]},
    "UltraFeedback's, with the prompt twice": {"prompt": "2+2?", "chosen": [USER, RIGHT], "rejected": [USER, WRONG]},
    "LLaMA-Factory's turns": {
        "conversations": [{"from": "human", "value": "2+2?"}],
        "chosen": {"from": "gpt", "value": "4"},
        "rejected": {"from": "gpt", "value": "5"},
    },
    "LLaMA-Factory's Alpaca": {"instruction": "2+2?", "input": "", "chosen": "4", "rejected": "5"},
    "Axolotl's": {"messages": [USER], "chosen": RIGHT, "rejected": WRONG},
    "OpenAI's": {
        "input": {"messages": [USER], "tools": []},
        "preferred_output": [RIGHT],
        "non_preferred_output": [WRONG],
    },
    "Orca's": {"question": "2+2?", "chosen": "4", "rejected": "5"},
}


@pytest.mark.parametrize("row", PAIRS.values(), ids=PAIRS)
def test_a_pair_is_read_in_every_form(row: dict[str, Any]) -> None:
    pair = read(row, "DPO")
    assert isinstance(pair, Pair)
    assert [(turn.role, turn.content) for turn in pair.messages] == [("user", "2+2?"), ("assistant", "4")]
    assert [(turn.role, turn.content) for turn in pair.rejected] == [("user", "2+2?"), ("assistant", "5")]
    assert pair.prompt.messages == pair.messages[:1]
    assert not READINGS["DPO"].unused(row, "Auto")


def test_the_prompt_of_a_pair_may_be_a_conversation_of_which_nothing_is_learned() -> None:
    pair = read({"chosen": [SYSTEM, *BEFORE, USER, RIGHT], "rejected": [SYSTEM, *BEFORE, USER, WRONG]}, "DPO")
    assert [turn.is_to_learn for turn in pair.messages] == [False, False, False, False, True]
    assert pair.messages[:-1] == pair.rejected[:-1]


def test_what_is_asked_may_stand_in_several_columns() -> None:
    pair = read({"system": "Be brief.", "instruction": "Add.", "input": "2 2", "chosen": "4", "rejected": "5"}, "DPO")
    assert [turn.content for turn in pair.messages] == ["Be brief.", "Add.\n\n2 2", "4"]


def test_answers_may_begin_with_the_same_call_of_a_tool() -> None:
    pair = read({"chosen": [USER, CALL, RESULT, RIGHT], "rejected": [USER, CALL, RESULT, WRONG]}, "DPO")
    assert pair.prompt.messages == pair.messages[:1]
    assert [turn.is_to_learn for turn in pair.messages] == [False, True, False, True]


def test_what_only_the_prompt_beside_the_answers_has_is_kept() -> None:
    whole = {"chosen": [USER, RIGHT], "rejected": [USER, WRONG]}
    pair = read({"prompt": [*BEFORE, USER], **whole}, "DPO")
    assert [turn.content for turn in pair.messages] == [turn["content"] for turn in (*BEFORE, USER, RIGHT)]
    assert read({"prompt": [USER, RIGHT], **whole}, "DPO") == read(whole, "DPO")


def test_answers_may_be_turns_that_a_table_holds_as_text() -> None:
    turns = {"chosen": [USER, RIGHT], "rejected": [USER, WRONG]}
    assert read({key: json.dumps(value) for key, value in turns.items()}, "DPO") == read(turns, "DPO")


def test_what_nothing_is_made_of_is_told() -> None:
    row = {"prompt": "2+2?", "chosen": "4", "rejected": "5", "score_chosen": 9.5}
    assert READINGS["DPO"].unused(row, "Auto") == {"score_chosen"}
    row = {**PAIRS["OpenAI's"], "input": {"messages": [USER], "parallel_tool_calls": True}, "id": 7}
    assert READINGS["DPO"].unused(row, "Auto") == {"parallel_tool_calls", "id"}


BAD_PAIRS: dict[str, tuple[dict[str, Any], DropReason, str]] = {
    "a row of SFT": (
        {"prompt": "2+2?", "completion": "4"},
        DropReason.NO_PREFERENCE,
        "set spec.training.objective SFT",
    ),
    "a row of KTO": ({"prompt": "2+2?", "completion": "4", "label": True}, DropReason.NO_PREFERENCE, "no rejected"),
    "no rejected of OpenAI's": (
        {"input": {"messages": [USER]}, "preferred_output": [RIGHT]},
        DropReason.NO_PREFERENCE,
        "the row has no rejected",
    ),
    "no rejected": ({"prompt": "2+2?", "chosen": "4"}, DropReason.NO_PREFERENCE, "the row has no rejected"),
    "texts without a prompt": ({"chosen": "Human: 2+2?", "rejected": "5"}, DropReason.MALFORMED, "give it as prompt"),
    "the same answers": ({"prompt": "2+2?", "chosen": "4", "rejected": "4"}, DropReason.SAME_ANSWERS, "nothing is"),
    "the same conversations": (
        {"chosen": [USER, RIGHT], "rejected": [USER, RIGHT]},
        DropReason.SAME_ANSWERS,
        "nothing is preferred",
    ),
    "no answer in one": ({"prompt": "2+2?", "chosen": "4", "rejected": " "}, DropReason.NO_ANSWER, "rejected must not"),
    "no prompt in one": (
        {"chosen": [USER, RIGHT], "rejected": [WRONG]},
        DropReason.MALFORMED,
        "begins with the prompt",
    ),
    "nothing in common": (
        {"chosen": [USER, RIGHT], "rejected": [BEFORE[0], WRONG]},
        DropReason.MALFORMED,
        "let both begin with the same turns",
    ),
    "one goes on where the other ends": (
        {"chosen": [USER, RIGHT], "rejected": [USER]},
        DropReason.MALFORMED,
        "rejected[1] is no answer",
    ),
    "a prompt that ends in an answer": (
        {"messages": [USER, RIGHT], "chosen": RIGHT, "rejected": WRONG},
        DropReason.MALFORMED,
        "messages ends with an answer",
    ),
    "two prompts": (
        {"prompt": [*BEFORE, {"role": "user", "content": "3+3?"}], "chosen": [USER, RIGHT], "rejected": [USER, WRONG]},
        DropReason.MALFORMED,
        "are two prompts",
    ),
    "several answers, ranked": (
        {"prompt": "2+2?", "chosen": ["4", "four"], "rejected": ["5", "6"]},
        DropReason.MALFORMED,
        "chosen is a list of texts",
    ),
    "an unknown role": (
        {"prompt": "2+2?", "chosen": {"role": "oracle"}, "rejected": "5"},
        DropReason.UNKNOWN_ROLE,
        "oracle",
    ),
    "an answer of nothing": ({"prompt": "2+2?", "chosen": {"a": 1}, "rejected": "5"}, DropReason.UNKNOWN_ROLE, "role"),
    "an empty prompt": (
        {"prompt": "", "chosen": "4", "rejected": "5"},
        DropReason.NO_ANSWER,
        "prompt must not be empty",
    ),
    "a picture": ({"prompt": "x", "chosen": "4", "rejected": "5", "images": ["a"]}, DropReason.NOT_TEXT, "images"),
}


@pytest.mark.parametrize(("row", "reason", "says"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_a_bad_pair_is_refused_with_what_to_do(row: dict[str, Any], reason: DropReason, says: str) -> None:
    with pytest.raises(UnusableRowError) as refusal:
        read(row, "DPO")
    assert refusal.value.reason is reason
    assert says in str(refusal.value)


LABELLED: dict[str, dict[str, Any]] = {
    "TRL's texts": {"prompt": "2+2?", "completion": "5", "label": False},
    "TRL's turns": {"prompt": [USER], "completion": [WRONG], "label": False},
    "LLaMA-Factory's turns": {"messages": [USER, WRONG], "label": False},
    "LLaMA-Factory's Alpaca": {"instruction": "2+2?", "output": "5", "kto_tag": False},
    "a number, as tables hold it": {"prompt": "2+2?", "completion": "5", "label": 0},
    "a text, as CSV holds it": {"prompt": "2+2?", "completion": "5", "label": "False"},
}


@pytest.mark.parametrize("row", LABELLED.values(), ids=LABELLED)
def test_a_labelled_answer_is_read_in_every_form(row: dict[str, Any]) -> None:
    answer = read(row, "KTO")
    assert isinstance(answer, Labelled)
    assert not answer.wanted
    assert [(turn.role, turn.content) for turn in answer.messages] == [("user", "2+2?"), ("assistant", "5")]
    assert not READINGS["KTO"].unused(row, READINGS["KTO"].detect(row))


def test_only_the_last_answer_of_a_conversation_has_the_label() -> None:
    answer = read({"messages": [*BEFORE, USER, RIGHT], "label": True}, "KTO")
    assert answer.wanted
    assert [turn.is_to_learn for turn in answer.messages] == [False, False, False, True]


BAD_LABELS: dict[str, tuple[dict[str, Any], DropReason, str]] = {
    "a row of SFT": ({"prompt": "2+2?", "completion": "4"}, DropReason.NO_PREFERENCE, "give label true or false"),
    "a pair": ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, DropReason.NO_PREFERENCE, "objective DPO for pairs"),
    "no truth": (
        {"prompt": "2+2?", "completion": "4", "label": "good"},
        DropReason.MALFORMED,
        "expected true or false",
    ),
    "a score": ({"prompt": "2+2?", "completion": "4", "label": 0.5}, DropReason.MALFORMED, "expected true or false"),
    "a list": ({"prompt": "2+2?", "completion": "4", "label": [True]}, DropReason.MALFORMED, "expected true or false"),
    "a text": ({"text": "2+2=4", "label": True}, DropReason.NO_PREFERENCE, "give prompt and completion"),
    "an empty answer": (
        {"prompt": "2+2?", "completion": "", "label": True},
        DropReason.NO_ANSWER,
        "completion must not",
    ),
    "an earlier answer alone": (
        {"messages": [*BEFORE, USER], "label": True},
        DropReason.NO_ANSWER,
        "there is no answer to judge",
    ),
    "keys of nothing": ({"a": "b", "label": True}, DropReason.WRONG_KEYS, "spec.dataset.columns"),
}


@pytest.mark.parametrize(("row", "reason", "says"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_bad_labelled_row_is_refused_with_what_to_do(row: dict[str, Any], reason: DropReason, says: str) -> None:
    with pytest.raises(UnusableRowError) as refusal:
        read(row, "KTO")
    assert refusal.value.reason is reason
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, "set spec.training.objective DPO"),
        ({"prompt": "2+2?", "completion": "4", "label": True}, "set spec.training.objective KTO"),
    ],
)
def test_rows_of_preferences_are_nothing_to_learn_word_for_word(row: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UnusableRowError) as refusal:
        read(row, "SFT")
    assert refusal.value.reason is DropReason.PREFERENCE
    assert remedy in str(refusal.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {"prompt": "2+2?", "chosen": "5", "rejected": "4"}),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {"prompt": "2+2?", "chosen": "4", "rejected": "6"}),
    ],
)
def test_a_pair_is_identified_by_both_answers(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = read(one, "DPO"), read(other, "DPO")
    assert first != second
    assert first.content() != second.content()
    assert first == read(one, "DPO")
