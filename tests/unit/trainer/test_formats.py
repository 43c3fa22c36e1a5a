"""Rows of every format become one shape."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from graft_trainer.data.conversation import Conversation, Example, Message, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.formats import detect_format, to_example

QUESTION, ANSWER = Message("user", "q"), Message("assistant", "a")
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("record", "name", "example"),
    [
        ({"messages": TURNS}, "Messages", Conversation((QUESTION, ANSWER))),
        ({"prompt": "q", "completion": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"instruction": "q", "output": "a"}, "Alpaca", Conversation((QUESTION, ANSWER))),
        ({"instruction": "q", "input": "", "output": "a"}, "Alpaca", Conversation((QUESTION, ANSWER))),
        (
            {"instruction": "sum", "input": "1 2", "output": "a"},
            "Alpaca",
            Conversation((Message("user", "sum\n\n1 2"), ANSWER)),
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            "ShareGPT",
            Conversation((QUESTION, ANSWER)),
        ),
        (
            {"system": "s", "conversations": [{"from": "user", "value": "q"}, {"from": "model", "value": "a"}]},
            "ShareGPT",
            Conversation((Message("system", "s"), QUESTION, ANSWER)),
        ),
        (
            {"instruction": "q", "output": "a", "system": "s"},
            "Alpaca",
            Conversation((Message("system", "s"), QUESTION, ANSWER)),
        ),
        ({"text": "t", "source": "ignored"}, "Text", Text("t")),
    ],
)
def test_formats_are_detected_and_converted(record: dict[str, Any], name: str, example: Example) -> None:
    assert detect_format(record) == name
    assert to_example(record, name) == example


CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}
AS_TEXT = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}


def test_calls_of_tools_and_their_results_are_kept() -> None:
    record = {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "assistant", "content": None, "tool_calls": [AS_TEXT]},
            {"role": "tool", "content": "sunny", "tool_call_id": "1", "name": "weather"},
            {"role": "assistant", "content": "a", "tool_calls": None},
        ],
        "tools": [TOOL],
    }
    conversation = to_example(record, "Messages")
    assert isinstance(conversation, Conversation)
    assert [message.as_dict() for message in conversation.messages] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "sunny", "tool_call_id": "1", "name": "weather"},
        {"role": "assistant", "content": "a"},
    ]
    assert json.loads(conversation.tools) == [TOOL]


def test_a_cell_of_a_table_may_hold_the_turns_as_json() -> None:
    assert to_example({"messages": json.dumps(TURNS)}, "Messages") == Conversation((QUESTION, ANSWER))


def test_the_place_is_no_part_of_what_a_row_is() -> None:
    here, there = (to_example({"text": "t"}, "Text", place=place) for place in ("here", "there"))
    assert (here, here.place, there.place) == (there, "here", "there")


def turns(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def calls(*functions: Any) -> dict[str, Any]:
    return turns({"role": "assistant", "content": "a", "tool_calls": list(functions)})


@pytest.mark.parametrize(
    ("record", "name", "reason", "message"),
    [
        (turns(), "Messages", DropReason.MALFORMED, "messages must be a list with at least one turn"),
        ({"messages": "oops"}, "Messages", DropReason.MALFORMED, "messages is a string that is not JSON"),
        (turns("x"), "Messages", DropReason.MALFORMED, "messages[0] must be an object"),
        (turns({"role": "user"}), "Messages", DropReason.MALFORMED, "messages[0].content must be a string"),
        (
            turns({"role": "user", "content": [{"type": "image_url"}]}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].content has parts that are not text",
        ),
        (
            turns({"role": "user", "content": "\ud800"}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].content holds half of a surrogate pair",
        ),
        (calls("x"), "Messages", DropReason.MALFORMED, "messages[0].tool_calls must be a list of objects"),
        (
            calls({"name": "f"}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].tool_calls[0].function must be an object",
        ),
        (
            calls({"function": {"name": "f", "arguments": "{"}}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].tool_calls[0].function.arguments is a string that is not JSON",
        ),
        ({"messages": TURNS, "tools": ["f"]}, "Messages", DropReason.MALFORMED, "tools must be a list of objects"),
        (turns({"role": "bot", "content": "x"}), "Messages", DropReason.UNKNOWN_ROLE, "messages[0].role is 'bot'"),
        (
            turns({"role": ["user"], "content": "x"}),
            "Messages",
            DropReason.UNKNOWN_ROLE,
            "messages[0].role is ['user']",
        ),
        ({"messages": TURNS[:1]}, "Messages", DropReason.NO_ANSWER, "no assistant turn says anything"),
        (turns({"role": "assistant", "content": " "}), "Messages", DropReason.NO_ANSWER, "no assistant turn says"),
        (
            {"conversations": [{"from": "alien", "value": "x"}]},
            "ShareGPT",
            DropReason.UNKNOWN_ROLE,
            "conversations[0].from is 'alien'; expected one of ['assistant', 'chatgpt', 'gpt', 'human'",
        ),
        ({"prompt": "q", "completion": ""}, "PromptCompletion", DropReason.NO_ANSWER, "completion must not be empty"),
        ({"prompt": "q", "completion": 7}, "PromptCompletion", DropReason.MALFORMED, "completion must be a string"),
        ({"prompt": TURNS[:1], "completion": "a"}, "PromptCompletion", DropReason.MALFORMED, "prompt must be a string"),
        ({"instruction": "q", "input": 7, "output": "a"}, "Alpaca", DropReason.MALFORMED, "input must be a string"),
        ({"text": 1}, "Text", DropReason.MALFORMED, "text must be a string"),
        ({"text": "x"}, "Alpaca", DropReason.WRONG_KEYS, "needs the keys ['instruction', 'output']"),
    ],
)
def test_what_is_wrong_is_said_by_name(record: dict[str, Any], name: str, reason: DropReason, message: str) -> None:
    with pytest.raises(UnusableRowError, match=re.escape(message)) as raised:
        to_example(record, name)
    assert raised.value.reason is reason


def test_keys_of_no_format_are_listed() -> None:
    with pytest.raises(UnusableRowError, match=r"keys \['answer', 'question'\]"):
        detect_format({"question": "q", "answer": "a"})
