"""The formats of training rows, and how each becomes a conversation or a text.

Every chat-like format is converted to `messages` with the roles system, user, assistant and tool, so that one
renderer (`rendering.py`) sees one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ROLES = frozenset({"system", "user", "assistant", "tool"})

SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "observation": "tool",
}

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        """Return the shape that chat templates expect."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row that is rendered with the base's chat template and trained on its assistant turns."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A row that is trained on as it is, every token."""

    text: str


Example = Conversation | Text


def detect_format(record: Record) -> str:
    """Name the format of a record by its keys.

    Raises ValueError where the keys fit no format.
    """
    for name, keys in SIGNATURES.items():
        if keys <= record.keys():
            return name
    raise ValueError(
        f"cannot tell the format from the keys {sorted(record)}; expected messages, conversations, "
        "instruction and output, prompt and completion, or text"
    )


def to_example(record: Record, format_name: str) -> Example:
    """Convert one record of the named format.

    Raises ValueError with what is wrong and where in the record.
    """
    missing = SIGNATURES[format_name] - record.keys()
    if missing:
        raise ValueError(f"format {format_name} needs the keys {sorted(missing)}")
    return CONVERTERS[format_name](record)


def _from_messages(record: Record) -> Conversation:
    return _conversation(record["messages"], "messages", role_key="role", content_key="content", roles=None)


def _from_sharegpt(record: Record) -> Conversation:
    return _conversation(
        record["conversations"], "conversations", role_key="from", content_key="value", roles=SHAREGPT_ROLES
    )


def _from_alpaca(record: Record) -> Conversation:
    instruction, extra = _string(record, "instruction"), record.get("input") or ""
    question = f"{instruction}\n\n{extra}" if extra else instruction
    return Conversation((Message("user", question), Message("assistant", _string(record, "output"))))


def _from_prompt_completion(record: Record) -> Conversation:
    if isinstance(record["prompt"], list) and isinstance(record["completion"], list):
        turns = [*record["prompt"], *record["completion"]]
        return _conversation(turns, "prompt/completion", role_key="role", content_key="content", roles=None)
    return Conversation(
        (Message("user", _string(record, "prompt")), Message("assistant", _string(record, "completion")))
    )


def _from_text(record: Record) -> Text:
    return Text(_string(record, "text"))


def _conversation(
    turns: Any, key: str, *, role_key: str, content_key: str, roles: Mapping[str, str] | None
) -> Conversation:
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"{key} must be a list with at least one turn")
    messages = []
    for position, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            raise ValueError(f"{key}[{position}] must be an object")
        role, content = turn.get(role_key), turn.get(content_key)
        role = roles.get(role, role) if roles and isinstance(role, str) else role
        if role not in ROLES:
            raise ValueError(f"{key}[{position}].{role_key} is {role!r}; expected one of {sorted(ROLES)}")
        if not isinstance(content, str):
            raise ValueError(f"{key}[{position}].{content_key} must be a string")
        messages.append(Message(role, content))
    if all(message.role != "assistant" for message in messages):
        raise ValueError(f"{key} has no assistant turn, so there is nothing to learn")
    return Conversation(tuple(messages))


def _string(record: Record, key: str) -> str:
    value = record[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be a string that is not empty")
    return value


SIGNATURES: dict[str, frozenset[str]] = {
    "Messages": frozenset({"messages"}),
    "ShareGPT": frozenset({"conversations"}),
    "Alpaca": frozenset({"instruction", "output"}),
    "PromptCompletion": frozenset({"prompt", "completion"}),
    "Text": frozenset({"text"}),
}
"""The keys that a record of each format must have, in the order in which Auto tries them."""

CONVERTERS: dict[str, Callable[[Record], Example]] = {
    "Messages": _from_messages,
    "ShareGPT": _from_sharegpt,
    "Alpaca": _from_alpaca,
    "PromptCompletion": _from_prompt_completion,
    "Text": _from_text,
}
