"""Rows of every format become one shape."""

from __future__ import annotations

from typing import Any

import pytest

from graft_trainer.formats import Conversation, Example, Message, Text, detect_format, to_example

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
        ({"text": "t", "source": "ignored"}, "Text", Text("t")),
    ],
)
def test_formats_are_detected_and_converted(record: dict[str, Any], name: str, example: Example) -> None:
    assert detect_format(record) == name
    assert to_example(record, name) == example


@pytest.mark.parametrize(
    ("record", "name", "message"),
    [
        ({"messages": []}, "Messages", "messages must be a list with at least one turn"),
        ({"messages": ["x"]}, "Messages", r"messages\[0\] must be an object"),
        ({"messages": [{"role": "user"}]}, "Messages", r"messages\[0\].content must be a string"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "Messages", r"messages\[0\].role is 'bot'"),
        ({"messages": TURNS[:1]}, "Messages", "no assistant turn"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "ShareGPT", "is 'alien'"),
        ({"prompt": "q", "completion": ""}, "PromptCompletion", "completion must be a string that is not empty"),
        ({"text": 1}, "Text", "text must be a string"),
        ({"text": "x"}, "Alpaca", r"needs the keys \['instruction', 'output'\]"),
    ],
)
def test_what_is_wrong_is_said_by_name(record: dict[str, Any], name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_example(record, name)


def test_keys_of_no_format_are_listed() -> None:
    with pytest.raises(ValueError, match=r"keys \['answer', 'question'\]"):
        detect_format({"question": "q", "answer": "a"})
