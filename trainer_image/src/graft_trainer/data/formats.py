"""The formats of training rows, and how each becomes a conversation or a text.

Every chat-like format is converted to `messages` with the roles system, user, assistant and tool, so that one
renderer (`rendering.py`) sees one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graft_trainer.data.conversation import Conversation, Example, Message, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.turns import parse_tools, parse_turns, text_of

SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "observation": "tool",
}

Record = Mapping[str, Any]


def detect_format(record: Record) -> str:
    """Name the format of a record by its keys.

    Raises UnusableRowError where the keys fit no format.
    """
    for name, keys in SIGNATURES.items():
        if keys <= record.keys():
            return name
    raise UnusableRowError(
        DropReason.WRONG_KEYS,
        f"cannot tell the format from the keys {sorted(map(str, record))}; expected messages, conversations, "
        "instruction and output, prompt and completion, or text",
    )


def to_example(record: Record, format_name: str, *, place: str = "") -> Example:
    """Convert one record of the named format; ``place`` says where it is from.

    Raises UnusableRowError with what is wrong and where in the record.
    """
    missing = SIGNATURES[format_name] - record.keys()
    if missing:
        raise UnusableRowError(DropReason.WRONG_KEYS, f"format {format_name} needs the keys {sorted(missing)}")
    return CONVERTERS[format_name](record, place)


def _from_messages(record: Record, place: str) -> Conversation:
    messages = parse_turns(record["messages"], "messages", role_key="role", content_key="content")
    return _conversation(messages, record, place)


def _from_sharegpt(record: Record, place: str) -> Conversation:
    messages = parse_turns(
        record["conversations"], "conversations", role_key="from", content_key="value", roles=SHAREGPT_ROLES
    )
    return _conversation([*_system(record), *messages], record, place)


def _from_alpaca(record: Record, place: str) -> Conversation:
    instruction, extra = _non_empty(record, "instruction"), record.get("input") or ""
    question = f"{instruction}\n\n{text_of(extra, 'input')}" if extra else instruction
    answer = Message("assistant", _non_empty(record, "output"))
    return Conversation((*_system(record), Message("user", question), answer), place=place)


def _from_prompt_completion(record: Record, place: str) -> Conversation:
    if isinstance(record["prompt"], list) and isinstance(record["completion"], list):
        turns = [*record["prompt"], *record["completion"]]
        messages = parse_turns(turns, "prompt/completion", role_key="role", content_key="content")
        return _conversation(messages, record, place)
    question = Message("user", _non_empty(record, "prompt"))
    return Conversation((question, Message("assistant", _non_empty(record, "completion"))), place=place)


def _from_text(record: Record, place: str) -> Text:
    return Text(_non_empty(record, "text"), place=place)


def _conversation(messages: list[Message], record: Record, place: str) -> Conversation:
    if not any(message.role == "assistant" and message.says_something for message in messages):
        raise UnusableRowError(DropReason.NO_ANSWER, "no assistant turn says anything, so there is nothing to learn")
    return Conversation(tuple(messages), tools=parse_tools(record.get("tools")), place=place)


def _system(record: Record) -> list[Message]:
    """Return the turn that some ShareGPT and Alpaca sets keep beside the others."""
    return [Message("system", text_of(record["system"], "system"))] if record.get("system") else []


def _non_empty(record: Record, key: str) -> str:
    text = text_of(record[key], key)
    if not text.strip():
        raise UnusableRowError(DropReason.NO_ANSWER, f"{key} must not be empty")
    return text


SIGNATURES: dict[str, frozenset[str]] = {
    "Messages": frozenset({"messages"}),
    "ShareGPT": frozenset({"conversations"}),
    "Alpaca": frozenset({"instruction", "output"}),
    "PromptCompletion": frozenset({"prompt", "completion"}),
    "Text": frozenset({"text"}),
}
"""The keys that a record of each format must have, in the order in which Auto tries them."""

CONVERTERS: dict[str, Callable[[Record, str], Example]] = {
    "Messages": _from_messages,
    "ShareGPT": _from_sharegpt,
    "Alpaca": _from_alpaca,
    "PromptCompletion": _from_prompt_completion,
    "Text": _from_text,
}
