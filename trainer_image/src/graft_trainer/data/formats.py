"""The formats of training rows, and how each becomes a conversation or a text.

Every chat-like format is converted to `messages` with the roles system, user, assistant and tool, so that one
renderer (`rendering.py`) sees one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from graft_trainer.data.conversation import Conversation, Example, Message, Text
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.calls import parse_tools
from graft_trainer.data.fields.texts import NOTHING, from_json_text, text_of, truth_of
from graft_trainer.data.fields.words import words_of
from graft_trainer.data.turns import REASONING, WEIGHTS, parse_turns
from graft_trainer.data.written_turns import turns_in

Record = Mapping[str, Any]

TURNS: Final = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
"""Names under which sets keep a list of turns."""

ALIASES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Alpaca": (("instruction", "output"), ("instruction", "response"), ("instruction", "answer")),
    "PromptCompletion": (
        ("prompt", "completion"),
        ("prompt", "response"),
        ("prompt", "answer"),
        ("question", "answer"),
        ("question", "response"),
        ("question", "solution"),
        ("query", "response"),
        ("query", "answer"),
        ("input", "output"),
        ("inputs", "targets"),
        ("problem", "solution"),
        ("problem", "generated_solution"),
        ("problem", "answer"),
    ),
}
"""Names of question and answer, by format, the format's own first."""

SYSTEM: Final = ("system", "system_prompt")
"""Names of a turn of the system's beside the others."""

EXTRA: Final = ("input", "context")
"""Names of what a question is about, which follows it after a blank line."""

MEDIA: Final = ("image", "images", "audio", "audios", "video", "videos")

TOOLS: Final = ("tools", "functions")

ROW_WEIGHTS: Final = WEIGHTS[:4]
"""What rows call such a mark of the whole; a ``loss`` beside them is a measured one."""

PREFERENCES: Final = ("chosen", "rejected")
OPENAI: Final = ("preferred_output", "non_preferred_output")
"""What OpenAI's files call the chosen and the rejected answer."""
LABELS: Final = ("label", "kto_tag")


def detect_format(record: Record) -> str:
    """Name the format of a record by its keys.

    Raises UnusableRowError where the keys fit no format.
    """
    if record.get("conversations") is not None and record.get("messages") is None:
        return "ShareGPT"
    for name, matches in SIGNATURES.items():
        if matches(record):
            return name
    check_is_text(record)
    _check_pair(record)
    raise UnusableRowError(
        DropReason.WRONG_KEYS,
        f"cannot tell the format from the keys {sorted(map(str, record))}; name them in spec.dataset.columns: as "
        "prompt and completion, instruction and output, question and answer, messages, conversations, or text",
    )


def is_row(record: Record) -> bool:
    """Tell whether an object is one row, and not what holds the rows."""
    return any(matches(record) for matches in SIGNATURES.values()) or all(key in record for key in PREFERENCES)


def to_example(record: Record, format_name: str, *, place: str = "") -> Example:
    """Convert one record of the named format; ``place`` says where it is from.

    Raises UnusableRowError with what is wrong and where in the record.
    """
    check_is_text(record)
    _check_pair(record)
    _check_label(record, format_name)
    check_weight(record)
    if not SIGNATURES[format_name](record):
        raise UnusableRowError(DropReason.WRONG_KEYS, f"format {format_name} needs the keys {NEEDED[format_name]}")
    return CONVERTERS[format_name](record, place)


def check_is_text(record: Record) -> None:
    """Refuse rows with pictures or sounds. Raises UnusableRowError."""
    media = next((key for key in MEDIA if record.get(key)), None)
    if media is not None:
        raise UnusableRowError(
            DropReason.NOT_TEXT, f"{media} is no text, and only text can be learned; give rows of text"
        )


def check_weight(record: Record) -> None:
    """Refuse a row that says itself that it is not to be learned, as single answers may. Raises UnusableRowError."""
    name = next((name for name in ROW_WEIGHTS if truth_of(record.get(name)) is False), None)
    if name is not None:
        raise UnusableRowError(DropReason.NO_ANSWER, f"{name} is {record[name]!r}, so nothing is to learn of the row")


def _check_pair(record: Record) -> None:
    """Refuse rows that say which of two answers is better: learned as they are, they would teach the worse one.

    A set that has the conversation to learn beside the pairs is read for that.
    """
    if record.get("messages") is None and has_pair(record):
        raise UnusableRowError(
            DropReason.PREFERENCE,
            "a pair of a chosen and a rejected answer is no row to learn word for word; set spec.training.objective "
            "DPO, or give the chosen ones as messages, or as prompt and completion",
        )


def has_pair(record: Record) -> bool:
    """Tell whether a row has a chosen and a rejected answer."""
    return any(all(record.get(key) is not None for key in names) for names in (PREFERENCES, OPENAI))


def _check_label(record: Record, format_name: str) -> None:
    """Refuse answers with a label: half of them would teach what is not wanted.

    Beside a text, which nobody has been asked for, a number may be the label of a class.
    """
    label = next((key for key in LABELS if truth_of(record.get(key)) is not None), None)
    if label is not None and (format_name != "Text" or isinstance(record[label], bool)):
        raise UnusableRowError(
            DropReason.PREFERENCE,
            f"{label} says whether the answer is wanted, so it is no row to learn word for word; set "
            f"spec.training.objective KTO, or give the wanted ones without {label}",
        )


def _from_turns(record: Record, place: str) -> Conversation:
    key = next(key for key in TURNS if may_be_turns(record.get(key), key))
    messages = parse_turns(record[key], key)
    if messages[0].role != "system":
        messages = [*system_turns(record), *messages]
    return _conversation(messages, record, place)


def _from_alpaca(record: Record, place: str) -> Conversation:
    question, answer = _keys(record, "Alpaca")
    asked = with_extra(non_empty(record, question), record, question)
    last = Message("assistant", non_empty(record, answer), reasoning=_reasoning(record))
    return _conversation([*system_turns(record), *earlier_turns(record), Message("user", asked), last], record, place)


def _from_prompt_completion(record: Record, place: str) -> Conversation:
    question, answer = _keys(record, "PromptCompletion")
    pairs = earlier_turns(record) if isinstance(record.get("history"), list) else []
    before = [*pairs, *side_turns(record, question, "user")]
    if before[-1].role == "user":
        before[-1] = Message("user", with_extra(before[-1].content, record, question))
    after = side_turns(record, answer, "assistant")
    if after[-1].role == "assistant" and (thought := _reasoning(record)):
        after[-1] = Message("assistant", after[-1].content, reasoning=thought)
    return _conversation([*system_turns(record), *before, *after], record, place)


def _from_text(record: Record, place: str) -> Text:
    return Text(non_empty(record, "text"), place=place)


def side_turns(record: Record, key: str, role: str) -> list[Message]:
    """Read a question or an answer: a text, or a list of turns, which tables hold as its JSON text."""
    turns = turns_in(record[key], key)
    return parse_turns(turns, key) if turns is not None else [Message(role, non_empty(record, key))]


def with_extra(asked: str, record: Record, key: str) -> str:
    """Return a question with what it is about."""
    extra = given(record, *(name for name in EXTRA if name != key))
    return asked if extra is None else f"{asked}\n\n{text_of(record[extra], extra)}"


def earlier_turns(record: Record) -> list[Message]:
    """Return the turns before, which some Alpaca sets keep as pairs of question and answer."""
    pairs = from_json_text(record.get("history") or [], "history")
    if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise UnusableRowError(DropReason.MALFORMED, "history must be a list of pairs of question and answer")
    roles = ("user", "assistant")
    return [Message(role, text_of(text, "history")) for pair in pairs for role, text in zip(roles, pair, strict=True)]


def _conversation(messages: list[Message], record: Record, place: str) -> Conversation:
    if not any(message.role == "assistant" and message.says_something for message in messages):
        raise UnusableRowError(DropReason.NO_ANSWER, "no assistant turn says anything, so there is nothing to learn")
    if not any(message.is_to_learn for message in messages):
        raise UnusableRowError(DropReason.NO_ANSWER, "every answer has weight 0, so there is nothing to learn")
    return Conversation(tuple(messages), tools=declared_tools(record), place=place)


def declared_tools(record: Record) -> str:
    """Return the functions that a row declares, as JSON text."""
    return next((text for name in TOOLS if (text := parse_tools(record.get(name), name))), "")


def system_turns(record: Record) -> list[Message]:
    """Return the turn that some sets keep beside the others."""
    name = given(record, *SYSTEM)
    return [] if name is None else [Message("system", words_of(record[name], name)[0])]


def _reasoning(record: Record) -> str:
    name = given(record, *REASONING[:2])
    return "" if name is None else text_of(record[name], name)


def given(record: Record, *names: str) -> str | None:
    """Return the first of some names under which a record has anything; a number may be 0."""
    return next((name for name in names if record.get(name) not in NOTHING), None)


def non_empty(record: Record, key: str) -> str:
    """Return a text that says something. Raises UnusableRowError."""
    text = text_of(record[key], key)
    if not text.strip():
        raise UnusableRowError(DropReason.NO_ANSWER, f"{key} must not be empty")
    return text


def pair_of(record: Record, format_name: str) -> tuple[str, str] | None:
    """Return the keys of question and answer, None where the format or the record has none."""
    return next((pair for pair in ALIASES.get(format_name, ()) if set(pair) <= record.keys()), None)


def _keys(record: Record, format_name: str) -> tuple[str, str]:
    pair = pair_of(record, format_name)
    assert pair is not None
    return pair


def _has_turns(record: Record) -> bool:
    return any(may_be_turns(record.get(key), key) for key in TURNS)


def may_be_turns(value: Any, key: str) -> bool:
    """Tell whether a value is meant to be turns: ``dialogue`` and the like may be a text of something else, too."""
    if key in TURNS[:2]:
        return value is not None
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))


SIGNATURES: Final[Mapping[str, Callable[[Record], bool]]] = {
    "Messages": _has_turns,
    "ShareGPT": _has_turns,
    "Alpaca": lambda record: pair_of(record, "Alpaca") is not None,
    "PromptCompletion": lambda record: pair_of(record, "PromptCompletion") is not None,
    # One turn of a tree of messages, as in OpenAssistant's, is no text to learn as it is.
    "Text": lambda record: "text" in record and "role" not in record,
}
"""Whether a record is of each format, in the order in which Auto tries them."""


NEEDED: Final[Mapping[str, list[str]]] = {
    "Messages": ["messages"],
    "ShareGPT": ["conversations"],
    "Alpaca": ["instruction", "output"],
    "PromptCompletion": ["prompt", "completion"],
    "Text": ["text"],
}

CONVERTERS: Final[Mapping[str, Callable[[Record, str], Example]]] = {
    "Messages": _from_turns,
    "ShareGPT": _from_turns,
    "Alpaca": _from_alpaca,
    "PromptCompletion": _from_prompt_completion,
    "Text": _from_text,
}
