"""Rows of every format become one shape."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from graft_trainer.data.conversation import Conversation, Example, Message, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.columns import with_columns
from graft_trainer.data.formats import detect_format, to_example
from graft_trainer.data.unused import unused_in

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
        ({"conversations": TURNS}, "ShareGPT", Conversation((QUESTION, ANSWER))),
        ({"conversation": TURNS}, "Messages", Conversation((QUESTION, ANSWER))),
        (
            {"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            "Messages",
            Conversation((QUESTION, ANSWER)),
        ),
        ({"question": "q", "answer": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"query": "q", "response": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"input": "q", "output": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"problem": "q", "solution": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"prompt": TURNS[:1], "completion": "a"}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"prompt": "q", "completion": TURNS[1:]}, "PromptCompletion", Conversation((QUESTION, ANSWER))),
        ({"prompt": "q", "completion": 7}, "PromptCompletion", Conversation((QUESTION, Message("assistant", "7")))),
        (
            {"instruction": "q", "context": "c", "response": "a", "category": "x"},
            "Alpaca",
            Conversation((Message("user", "q\n\nc"), ANSWER)),
        ),
        (
            {"instruction": "q", "output": "a", "history": [["e", "f"]]},
            "Alpaca",
            Conversation((Message("user", "e"), Message("assistant", "f"), QUESTION, ANSWER)),
        ),
        (
            {"query": "q", "response": "a", "history": [["e", "f"]]},
            "PromptCompletion",
            Conversation((Message("user", "e"), Message("assistant", "f"), QUESTION, ANSWER)),
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"text": "q"}]},
                    {"role": "assistant", "content": [{"text": "a"}]},
                ]
            },
            "Messages",
            Conversation((QUESTION, ANSWER)),
        ),
        (
            {"messages": [{"role": "developer", "content": "s"}, *TURNS]},
            "Messages",
            Conversation((Message("system", "s"), QUESTION, ANSWER)),
        ),
        (
            {"messages": [TURNS[0], {"role": "assistant", "content": None, "refusal": "no"}]},
            "Messages",
            Conversation((QUESTION, Message("assistant", "no"))),
        ),
        (
            {"messages": [TURNS[0], {**TURNS[1], "reasoning_content": "r"}]},
            "Messages",
            Conversation((QUESTION, Message("assistant", "a", reasoning="r"))),
        ),
        (
            {
                "messages": [
                    TURNS[0],
                    {
                        "role": "assistant",
                        "content": [{"type": "thinking", "thinking": "r"}, {"type": "output_text", "text": "a"}],
                    },
                ]
            },
            "Messages",
            Conversation((QUESTION, Message("assistant", "a", reasoning="r"))),
        ),
        (
            {"prompt": "q", "completion": "a", "reasoning_content": "r"},
            "PromptCompletion",
            Conversation((QUESTION, Message("assistant", "a", reasoning="r"))),
        ),
        *(
            (
                {"messages": [TURNS[0], {**TURNS[1], **mark}, *TURNS]},
                "Messages",
                Conversation((QUESTION, Message("assistant", "a", learned=False), QUESTION, ANSWER)),
            )
            for mark in (
                {"weight": 0},
                {"train": False},
                {"trainable": False},
                {"loss_mask": 0},
                {"train_on_turn": False},
            )
        ),
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


def call_of(example: Example, position: int = 1) -> dict[str, Any]:
    assert isinstance(example, Conversation)
    assert example.messages[position].role == "assistant"
    (call,) = json.loads(example.messages[position].tool_calls)
    function: dict[str, Any] = call["function"]
    return function


@pytest.mark.parametrize("arguments", [{}, "{}", "", None])
def test_a_call_without_arguments_has_none(arguments: Any) -> None:
    call = {"type": "function", "function": {"name": "now", "arguments": arguments}}
    record = {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert call_of(to_example(record, "Messages")) == {"name": "now", "arguments": {}}


def test_a_call_of_openais_older_files_is_one_of_today() -> None:
    record = {
        "messages": [
            TURNS[0],
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "weather", "arguments": '{"city": "Bern"}'},
            },
            {"role": "function", "name": "weather", "content": "sunny"},
            TURNS[1],
        ],
        "functions": [TOOL["function"]],
    }
    example = to_example(record, "Messages")
    assert isinstance(example, Conversation)
    assert call_of(example) == CALL["function"]
    assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(example.tools) == [TOOL]


def test_a_call_is_a_turn_of_its_own_in_sharegpt_sets() -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bern"}}'},
            {"from": "observation", "value": "sunny"},
            {"from": "gpt", "value": "a"},
        ],
        "tools": json.dumps([TOOL]),
    }
    example = to_example(record, "ShareGPT")
    assert call_of(example) == CALL["function"]
    assert isinstance(example, Conversation)
    assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]


def test_columns_of_other_names_can_be_mapped() -> None:
    record = {"headline": "q", "body": "a", "prompt": "not this"}
    mapped = with_columns(record, {"prompt": "headline", "completion": "body"})
    assert to_example(mapped, detect_format(mapped)) == Conversation((QUESTION, ANSWER))


def test_what_nothing_is_made_of_is_told() -> None:
    record = {"messages": [{**TURNS[0], "mood": "fine", "id": None}, TURNS[1]], "source": "web", "score": None}
    assert unused_in(record, "Messages") == {"messages.mood", "source"}
    assert unused_in({"question": "q", "answer": "a", "level": 3}, "PromptCompletion") == {"level"}


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
            DropReason.NOT_TEXT,
            "messages[0].content has parts that are not text (image_url); only text can be learned",
        ),
        (
            turns({"role": "user", "content": "\ud800"}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].content holds half of a surrogate pair",
        ),
        (calls("x"), "Messages", DropReason.MALFORMED, "messages[0].tool_calls must be a list of objects"),
        (
            calls({"id": "f"}),
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
        (
            {"messages": TURNS, "tools": ["f"]},
            "Messages",
            DropReason.MALFORMED,
            "tools[0] is a string that is not JSON",
        ),
        ({"messages": TURNS, "tools": [7]}, "Messages", DropReason.MALFORMED, "tools must be a list of objects"),
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
            "conversations[0].from is 'alien'; expected one of ['assistant', 'bard'",
        ),
        ({"prompt": "q", "completion": ""}, "PromptCompletion", DropReason.NO_ANSWER, "completion must not be empty"),
        ({"prompt": "q", "completion": {}}, "PromptCompletion", DropReason.MALFORMED, "completion must be a string"),
        ({"prompt": [], "completion": "a"}, "PromptCompletion", DropReason.MALFORMED, "prompt must be a list with"),
        ({"instruction": "q", "input": {"a": 7}, "output": "a"}, "Alpaca", DropReason.MALFORMED, "input must be"),
        ({"text": None}, "Text", DropReason.MALFORMED, "text must be a string"),
        (
            turns({"role": "assistant", "content": "a", "weight": 0.5}),
            "Messages",
            DropReason.MALFORMED,
            "messages[0].weight is 0.5; expected 0 or 1",
        ),
        (
            turns({"role": "assistant", "content": "a", "weight": 0}),
            "Messages",
            DropReason.NO_ANSWER,
            "every answer has weight 0",
        ),
        (
            {"conversations": [{"from": "function_call", "value": "weather"}]},
            "ShareGPT",
            DropReason.MALFORMED,
            "conversations[0].value is a string that is not JSON",
        ),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            "PromptCompletion",
            DropReason.PREFERENCE,
            "give the chosen ones as messages",
        ),
        (
            {"prompt": "q", "completion": "a", "label": False},
            "PromptCompletion",
            DropReason.PREFERENCE,
            "give the wanted ones without label",
        ),
        (
            {"instruction": "q", "output": "a", "history": ["x"]},
            "Alpaca",
            DropReason.MALFORMED,
            "history must be a list of pairs",
        ),
        ({"text": "x"}, "Alpaca", DropReason.WRONG_KEYS, "needs the keys ['instruction', 'output']"),
    ],
)
def test_what_is_wrong_is_said_by_name(record: dict[str, Any], name: str, reason: DropReason, message: str) -> None:
    with pytest.raises(UnusableRowError, match=re.escape(message)) as raised:
        to_example(record, name)
    assert raised.value.reason is reason


def test_keys_of_no_format_are_listed() -> None:
    with pytest.raises(UnusableRowError, match=r"keys \['body', 'headline'\].*spec\.dataset\.columns"):
        detect_format({"headline": "q", "body": "a"})


WRAPPED = {"type": "function", "function": {"name": "weather", "parameters": {}}}
BARE = {"name": "weather", "parameters": {}}
DECLARED: dict[str, tuple[str, Any]] = {
    "as OpenAI's files have them": ("tools", [WRAPPED]),
    "bare, as LLaMA-Factory's and Salesforce's sets have them": ("tools", [BARE]),
    "bare, with their type, as OpenAI's newer API has them": ("tools", [{"type": "function", **BARE}]),
    "without their type": ("tools", [{"function": BARE}]),
    "as JSON text": ("tools", json.dumps([BARE])),
    "each as JSON text": ("tools", [json.dumps(WRAPPED)]),
    "padded by a table": ("tools", [{**WRAPPED, "strict": None, "function": {**BARE, "returns": None}}]),
    "one alone": ("tools", BARE),
    "as OpenAI's older files have them": ("functions", [BARE]),
    "by the older name in the newer form": ("functions", [WRAPPED]),
}


@pytest.mark.parametrize(("key", "declared"), DECLARED.values(), ids=DECLARED)
def test_tools_are_declared_as_a_server_declares_them(key: str, declared: Any) -> None:
    """Templates write what they are given; an adapter would learn to call functions that it never sees so again."""
    example = to_example({"messages": TURNS, key: declared}, "Messages")
    assert isinstance(example, Conversation)
    assert json.loads(example.tools) == [WRAPPED]


def test_a_default_of_a_declared_function_may_be_null() -> None:
    properties = {"days": {"type": "integer", "default": None}}
    declared = {"name": "weather", "parameters": {"properties": {**properties, "city": None}}}
    example = to_example({"messages": TURNS, "tools": [declared]}, "Messages")
    assert isinstance(example, Conversation)
    assert json.loads(example.tools)[0]["function"]["parameters"] == {"properties": properties}


def test_a_call_without_its_envelope_is_one() -> None:
    example = to_example(calls({"name": "weather", "arguments": {"city": "Bern"}, "id": "1"}), "Messages")
    assert isinstance(example, Conversation)
    assert json.loads(example.messages[0].tool_calls) == [CALL]


AS_WRITTEN: dict[str, dict[str, Any]] = {
    "a question and an answer": {"prompt": json.dumps(TURNS[:1]), "completion": json.dumps(TURNS[1:], indent=1)},
    "those of ShareGPT": {"prompt": '[ {"from": "human", "value": "q"}]', "completion": "a"},
}


@pytest.mark.parametrize("record", AS_WRITTEN.values(), ids=AS_WRITTEN)
def test_turns_that_a_table_holds_as_text_are_turns(record: dict[str, Any]) -> None:
    assert to_example(record, "PromptCompletion") == Conversation((QUESTION, ANSWER))


def test_a_text_that_begins_like_turns_is_one() -> None:
    (asked, _) = to_example({"prompt": '[{"city": "Bern"}]', "completion": "a"}, "PromptCompletion").messages  # type: ignore[union-attr]
    assert asked.content == '[{"city": "Bern"}]'


NOT_TO_LEARN: dict[str, tuple[dict[str, Any], DropReason, str]] = {
    "several answers": ({"prompt": "q", "completion": ["a", "b"]}, DropReason.MALFORMED, "completion is a list of"),
    "columns instead of rows": ({"prompt": ["q", "r"], "completion": ["a", "b"]}, DropReason.MALFORMED, "prompt is a"),
    "turns as Python writes them": ({"prompt": str(TURNS[:1]), "completion": "a"}, DropReason.MALFORMED, "as JSON"),
    "arguments that are no object": (
        calls({"function": {"name": "f", "arguments": '["Bern"]'}}),
        DropReason.MALFORMED,
        "arguments must be an object",
    ),
    "a row that is not meant": (
        {"prompt": "q", "completion": "a", "weight": 0},
        DropReason.NO_ANSWER,
        "weight",
    ),
    "turns that are not": ({"messages": TURNS, "train": "false"}, DropReason.NO_ANSWER, "nothing is to learn of the"),
    "a number without end": ({"prompt": "q", "completion": float("inf")}, DropReason.MALFORMED, "is inf"),
    "one within a call": (
        calls({"function": {"name": "f", "arguments": {"a": float("-inf")}}}),
        DropReason.MALFORMED,
        "can't be written as JSON",
    ),
    "a label of a table": ({"prompt": "q", "completion": "a", "label": "False"}, DropReason.PREFERENCE, "KTO"),
    "a label as a number": ({"instruction": "q", "output": "a", "label": 0}, DropReason.PREFERENCE, "KTO"),
    "a label of turns": ({"messages": TURNS, "label": False}, DropReason.PREFERENCE, "without label"),
    "LLaMA-Factory's label": ({"messages": TURNS, "kto_tag": "true"}, DropReason.PREFERENCE, "without kto_tag"),
}


@pytest.mark.parametrize(("record", "reason", "message"), NOT_TO_LEARN.values(), ids=NOT_TO_LEARN)
def test_what_would_be_learned_for_what_it_is_not_is_refused(
    record: dict[str, Any], reason: DropReason, message: str
) -> None:
    with pytest.raises(UnusableRowError, match=re.escape(message)) as raised:
        to_example(record, detect_format({key: record[key] for key in record if key not in ("label", "kto_tag")}))
    assert raised.value.reason is reason


@pytest.mark.parametrize("mark", [{"weight": 0.5}, {"weight": 1}, {"train": True}, {"loss": 0}])
def test_a_row_may_have_a_weight_that_is_none_of_nothing(mark: dict[str, Any]) -> None:
    assert to_example({"prompt": "q", "completion": "a", **mark}, "PromptCompletion") == Conversation(
        (QUESTION, ANSWER)
    )


@pytest.mark.parametrize("label", [1, "0", "great", 0.5])
def test_a_text_may_have_the_label_of_a_class(label: Any) -> None:
    assert to_example({"text": "t", "label": label}, "Text") == Text("t")


def test_a_question_may_be_about_the_number_0() -> None:
    asked = Conversation((Message("user", "double it\n\n0"), Message("assistant", "0")))
    assert to_example({"instruction": "double it", "input": 0, "output": 0}, "Alpaca") == asked


@pytest.mark.parametrize(
    ("record", "unused"),
    [
        ({"messages": TURNS, "context": "c", "input": "i", "text": "t"}, {"context", "input", "text"}),
        ({"messages": [{"role": "system", "content": "s"}, *TURNS], "system": "other"}, {"system"}),
        ({"messages": TURNS, "system": "s", "tools": [TOOL]}, set()),
        ({"instruction": "i", "output": "o", "input": "x", "context": "y"}, {"context"}),
        ({"text": "t", "tools": [TOOL]}, {"tools"}),
    ],
)
def test_what_another_format_would_use_is_told(record: dict[str, Any], unused: set[str]) -> None:
    assert unused_in(record, detect_format(record)) == unused
