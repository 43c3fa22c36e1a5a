"""Habits of people's rows: read as they are meant, refused by name, or told; never lost without a word."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from graft_trainer.config import Objective
from graft_trainer.data.conversation import Conversation, Labelled, Message, Pair
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.preferences import READINGS

ASKED = {"role": "user", "content": "q"}
ANSWERED = {"role": "assistant", "content": "a"}
WORSE = {"role": "assistant", "content": "b"}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def read(row: dict[str, Any], objective: Objective = "SFT") -> Any:
    reading = READINGS[objective]
    return reading.convert(row, reading.detect(row), place="x.jsonl line 1")


def unused(row: dict[str, Any], objective: Objective = "SFT") -> set[str]:
    reading = READINGS[objective]
    return reading.unused(row, reading.detect(row))


def answering(**turn: Any) -> dict[str, Any]:
    return {"messages": [ASKED, {"role": "assistant", **turn}]}


@pytest.mark.parametrize(
    ("turn", "answer"),
    [
        ({"content": "", "refusal": "no"}, Message("assistant", "no")),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, Message("assistant", "no")),
        ({"content": [{"text": "a", "image": None}]}, Message("assistant", "a")),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            Message("assistant", "a", reasoning="r"),
        ),
        ({"content": "a", "weight": "1.0"}, Message("assistant", "a")),
        ({"content": "a", "weight": 1, "train": "true"}, Message("assistant", "a")),
    ],
)
def test_an_answer_is_what_its_parts_say(turn: dict[str, Any], answer: Message) -> None:
    assert read(answering(**turn)) == Conversation((Message("user", "q"), answer))


def test_what_the_system_says_may_be_parts_too() -> None:
    row = {"system": [{"text": "Be "}, {"type": "text", "text": "brief."}], "messages": [ASKED, ANSWERED]}
    assert read(row).messages[0] == Message("system", "Be brief.")


DECLARED: dict[str, dict[str, Any]] = {
    "with the schema as JSON text": {"name": "weather", "parameters": json.dumps(SCHEMA)},
    "in an envelope, as JSON text": {"type": "function", "function": json.dumps(TOOL["function"])},
    "as Anthropic's API has them": {"name": "weather", "input_schema": SCHEMA},
    "as MCP has them": {"name": "weather", "inputSchema": SCHEMA},
}


@pytest.mark.parametrize("tool", DECLARED.values(), ids=DECLARED)
def test_a_function_is_declared_as_a_server_declares_it(tool: dict[str, Any]) -> None:
    assert json.loads(read({"messages": [ASKED, ANSWERED], "tools": [tool]}).tools) == [TOOL]


WRITTEN: dict[str, str] = {
    "with their number first": json.dumps([{"id": 1, **ANSWERED}]),
    "with a weight first": json.dumps([{"weight": 1, **ANSWERED}]),
    "as one turn": json.dumps(ANSWERED),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_turns_of_a_table_are_turns_whatever_they_say_first(text: str) -> None:
    """A table holds them as text; an adapter would learn to write JSON."""
    worse = text.replace('"a"', '"b"')
    pair = read({"prompt": "q", "chosen": text, "rejected": worse}, "DPO")
    assert isinstance(pair, Pair)
    assert (pair.messages[-1].content, pair.rejected[-1].content) == ("a", "b")
    assert read({"prompt": "q", "completion": text}).messages[-1].content == "a"


@pytest.mark.parametrize(
    "text",
    [
        '[{"value": 3, "unit": "kg"}]',
        '[{"content": "x", "score": 1}]',
        '{"role": "admin", "content": "x"}',
        '{"role": "user", "content": "x", "email": "y"}',
        "{'city': 'Bern'}",
        "[{'city': 'Bern', 'value': 1}]",
        '{"role": "user", "content": ',
    ],
)
def test_an_answer_of_json_that_is_no_turn_is_a_text(text: str) -> None:
    assert read({"prompt": "q", "completion": text}).messages[-1].content == text


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (
            answering(content="a", weight=1, train=False),
            DropReason.MALFORMED,
            "messages[1].weight is 1 and train is False",
        ),
        (answering(content=["a", "b"]), DropReason.MALFORMED, "messages[1].content is a list of texts; give one"),
        (answering(content=[{"toolUse": {}}]), DropReason.NOT_TEXT, "parts that are not text (toolUse)"),
        (answering(parts=[{"text": "a"}]), DropReason.MALFORMED, "and the turn has none: it has parts, role"),
        (answering(content={"text": "a"}), DropReason.MALFORMED, "content must be a string, not an object"),
        ({"prompt": "q", "completion": None}, DropReason.MALFORMED, "completion must be a string, not null"),
        (
            {"conversation": [{"human": "q", "assistant": "a"}]},
            DropReason.UNKNOWN_ROLE,
            "conversation[0].role is missing (it has assistant, human); expected one of",
        ),
        (
            {"messages": [ASKED, ANSWERED], "tools": [{"function": {"name": 7}}]},
            DropReason.MALFORMED,
            "tools[0].function must be an object with a name",
        ),
        (
            {"messages": [ASKED, ANSWERED], "tools": [{"name": "f", "parameters": [1]}]},
            DropReason.MALFORMED,
            "tools[0].parameters must be an object, the JSON schema",
        ),
        (
            {"prompt": "q", "completion": "[{'id': 1, 'role': 'user', 'content': 'a'}]"},
            DropReason.MALFORMED,
            "completion has turns as Python writes them",
        ),
        ({"prompt": "q", "completion": "a", "weight": "0.0"}, DropReason.NO_ANSWER, "weight is '0.0'"),
        ({"prompt": "q", "completion": "a", "label": "0.0"}, DropReason.PREFERENCE, "KTO"),
        (
            {"input": {"messages": [ASKED]}, "preferred_output": [ANSWERED], "non_preferred_output": [WORSE]},
            DropReason.PREFERENCE,
            "set spec.training.objective DPO",
        ),
        ({"sentence": "s", "label": 1}, DropReason.WRONG_KEYS, "cannot tell the format from the keys"),
    ],
)
def test_what_is_refused_says_what_is_there(row: dict[str, Any], reason: DropReason, message: str) -> None:
    with pytest.raises(UnusableRowError, match=re.escape(message)) as raised:
        read(row)
    assert raised.value.reason is reason


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (answering(content="a", refusal="no"), {"messages.refusal"}),
        (answering(content="a", value="b"), {"messages.value"}),
        (answering(content="a", value="a"), set()),
        (answering(content="a", reasoning_content="r", thinking="s"), {"messages.thinking"}),
        (answering(content="a", reasoning_content="r", reasoning="r"), set()),
        (
            answering(content=None, tool_calls=[CALL], function_call={"name": "other"}),
            {"messages.function_call"},
        ),
        ({"messages": [ASKED, ANSWERED], "tools": [TOOL], "functions": [{"name": "f"}]}, {"functions"}),
        ({"messages": [ASKED, ANSWERED], "tools": [TOOL], "functions": [TOOL["function"]]}, set()),
        ({"messages": [ASKED, ANSWERED], "tools": "[]", "functions": [TOOL]}, set()),
        ({"messages": [ASKED, ANSWERED], "tools": [TOOL], "functions": "none"}, {"functions"}),
        ({"messages": json.dumps([{**ASKED, "mood": "fine"}, ANSWERED])}, {"messages.mood"}),
        (
            {"messages": json.dumps([{"role": "system", "content": "s"}, ASKED, ANSWERED]), "system": "other"},
            {"system"},
        ),
        ({"prompt": [{**ASKED, "mood": "fine"}], "completion": [ANSWERED]}, {"prompt.mood"}),
    ],
)
def test_what_says_more_than_is_taken_is_told(row: dict[str, Any], told: set[str]) -> None:
    read(row)
    assert unused(row) == told


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "q", "question": "r", "chosen": "a", "rejected": "b"}, {"question"}),
        ({"prompt": "other", "chosen": [ASKED, ANSWERED], "rejected": [ASKED, WORSE]}, {"prompt"}),
        ({"prompt": " q\n", "chosen": [ASKED, ANSWERED], "rejected": [ASKED, WORSE]}, set()),
        ({"prompt": "q", "chosen": [ANSWERED], "rejected": [WORSE]}, set()),
        ({"prompt": "other", "messages": [ASKED], "chosen": "a", "rejected": "b"}, {"prompt"}),
        ({"prompt": "other", "chosen": json.dumps([ASKED, ANSWERED]), "rejected": [ASKED, WORSE]}, {"prompt"}),
        ({"prompt": "q", "text": "t", "thinking": "r", "chosen": "a", "rejected": "b"}, {"text", "thinking"}),
        ({"prompt": [ASKED], "chosen": {**ANSWERED, "mood": "x"}, "rejected": WORSE}, {"chosen.mood"}),
        ({"conversations": [{**ASKED, "mood": "x"}], "chosen": ANSWERED, "rejected": WORSE}, {"conversations.mood"}),
        (
            {"prompt": "[{'role': 'user', 'content': 'q'}]", "messages": [ASKED], "chosen": "a", "rejected": "b"},
            {"prompt"},
        ),
    ],
)
def test_what_a_pair_is_not_made_of_is_told(row: dict[str, Any], told: set[str]) -> None:
    read(row, "DPO")
    assert unused(row, "DPO") == told


OPENAI: dict[str, dict[str, Any]] = {
    "a text asked": {"input": "q", "preferred_output": "a", "non_preferred_output": "b"},
    "of a table": {
        "input": json.dumps({"messages": [ASKED], "tools": []}),
        "preferred_output": json.dumps([ANSWERED]),
        "non_preferred_output": json.dumps([WORSE]),
    },
}


@pytest.mark.parametrize("row", OPENAI.values(), ids=OPENAI)
def test_a_pair_of_openais_is_read_from_a_table_too(row: dict[str, Any]) -> None:
    pair = read(row, "DPO")
    assert [turn.content for turn in (*pair.messages, pair.rejected[-1])] == ["q", "a", "b"]
    assert unused(row, "DPO") == set()


@pytest.mark.parametrize(
    ("row", "objective", "message"),
    [
        (
            {"instruction": "q", "chosen_response": "a", "rejected_response": "b"},
            "DPO",
            "by spec.dataset.columns if they have other names, or set spec.training.objective SFT or KTO. The row has",
        ),
        ({"prompt": "q", "completion": "a", "thumbs": True}, "KTO", "by spec.dataset.columns if it has another name"),
        ({"input": "q", "preferred_output": "a", "non_preferred_output": "b"}, "KTO", "objective DPO for pairs"),
    ],
)
def test_who_calls_it_otherwise_is_told_of_columns(row: dict[str, Any], objective: Objective, message: str) -> None:
    with pytest.raises(UnusableRowError, match=re.escape(message)) as raised:
        read(row, objective)
    assert raised.value.reason is DropReason.NO_PREFERENCE


def test_two_labels_that_differ_are_refused() -> None:
    row = {"messages": [ASKED, ANSWERED], "label": True, "kto_tag": "false"}
    with pytest.raises(UnusableRowError, match="label is True and kto_tag is 'false'; leave one of them out") as raised:
        read(row, "KTO")
    assert raised.value.reason is DropReason.MALFORMED
    assert read({**row, "kto_tag": 1}, "KTO").wanted


@pytest.mark.parametrize(("label", "wanted"), [("1.0", True), ("0.0", False), (" 1. ", True), ("0.00", False)])
def test_a_label_may_have_a_point(label: str, wanted: bool) -> None:
    """A column of whole numbers of which some are missing becomes one of fractions, in every table's library."""
    answer = read({"prompt": "q", "completion": "a", "label": label}, "KTO")
    assert isinstance(answer, Labelled)
    assert answer.wanted is wanted
