"""Reads the turns of a chat: roles, words, reasoning, calls of tools, and which answers are to be learned.

The forms are those of OpenAI's fine-tuning files, ShareGPT, LLaMA-Factory, Axolotl and TRL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.conversation import Message
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.calls import parse_calls
from graft_trainer.data.fields.columns import as_told
from graft_trainer.data.fields.texts import NOTHING, from_json_text, text_of, truth_of
from graft_trainer.data.fields.words import words_of

ROLES: Final[Mapping[str, str]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}
"""Roles of chat messages, and what each is to a chat template."""

SHAREGPT_ROLES: Final[Mapping[str, str]] = {
    **ROLES,
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
CALLING_ROLES: Final = frozenset({"function_call", "tool_call"})
"""Roles of turns whose words are the JSON of a call."""

PLAIN: Final = frozenset({"role", "content"})
"""All that most turns have: there is nothing more to look for in them."""

REASONING: Final = ("reasoning_content", "thinking", "reasoning", "thoughts")
WEIGHTS: Final = ("weight", "train", "trainable", "train_on_turn", "loss", "loss_mask", "learn")
"""What sets call the mark of an answer that is to be learned or not: 1 or true, 0 or false."""

SPEAKERS: Final = ("role", "from")
WORDS: Final = ("content", "value")
"""What turns call whose words they hold, and the words."""

USED: Final = frozenset(
    {*SPEAKERS, *WORDS, "tool_calls", "function_call", "name", "tool_call_id", "refusal", *REASONING, *WEIGHTS}
)


def parse_turns(turns: Any, key: str) -> list[Message]:
    """Read a list of turns, or its JSON text, which is what tables hold in a cell.

    Each has ``role`` and ``content``, or ``from`` and ``value``. Raises UnusableRowError with the turn that is wrong.
    """
    turns = from_json_text(turns, key)
    if not isinstance(turns, list) or not turns:
        raise UnusableRowError(DropReason.MALFORMED, f"{key} must be a list with at least one turn")
    if len(turns) > 1 and all(isinstance(turn, str) for turn in turns):
        # Questions and answers by turns, without saying so.
        turns = [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]
    messages = []
    for position, turn in enumerate(turns):
        where = f"{key}[{position}]"
        if not isinstance(turn, Mapping):
            raise UnusableRowError(DropReason.MALFORMED, f"{where} must be an object")
        messages.append(_message(turn, where))
    return messages


def unused_keys(turns: Any, key: str) -> set[str]:
    """Return what turns hold that nothing is made of, as ``messages.mood``; ``turns`` may be one turn alone."""
    given = turns if isinstance(turns, list) else [turns]
    return {f"{key}.{name}" for turn in given if isinstance(turn, Mapping) for name in _unused(turn)}


def _unused(turn: Mapping[str, Any]) -> set[str]:
    """Return the keys of a turn that nothing is made of, because of their names, or because another says more."""
    if turn.keys() == PLAIN:
        return set()
    given = {name: value for name, value in turn.items() if value not in NOTHING}
    unused = {str(name) for name in given if name not in USED}
    for names in (WORDS, REASONING, ("tool_calls", "function_call"), ("content", "refusal")):
        said = [name for name in names if name in given]
        unused |= {name for name in said[1:] if given[name] != given[said[0]]}
    return unused


def _message(turn: Mapping[str, Any], where: str) -> Message:
    if turn.keys() == PLAIN and isinstance(turn["role"], str) and turn["role"] in ROLES:
        words, thought = words_of(turn["content"], f"{where}.content")
        return Message(ROLES[turn["role"]], words, reasoning=thought)
    named, content_key = _role(turn, where)
    role = SHAREGPT_ROLES[named]
    content = turn.get(content_key)
    calls = _calls(turn, named, content, where)
    if named in CALLING_ROLES:
        content = ""
    if content in NOTHING and turn.get("refusal"):
        content, content_key = turn["refusal"], "refusal"
    if content is None and calls:
        content = ""
    if content is None and content_key not in turn:
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where}.{content_key} must be a string, and the turn has none: {_told(turn)}"
        )
    words, thought = words_of(content, f"{where}.{content_key}")
    return Message(
        role,
        words,
        tool_calls=calls,
        name=text_of(turn.get("name") or "", f"{where}.name"),
        tool_call_id=text_of(turn.get("tool_call_id") or "", f"{where}.tool_call_id"),
        reasoning=_reasoning(turn, where) or thought,
        learned=_is_to_learn(turn, where),
    )


def _role(turn: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Return the name of a turn's role, and the key of its words."""
    sharegpt = "role" not in turn and "from" in turn
    key, roles = ("from", SHAREGPT_ROLES) if sharegpt else ("role", ROLES)
    role = turn.get(key)
    if not isinstance(role, str) or role not in roles:
        found = repr(role) if key in turn else f"missing ({_told(turn)})"
        raise UnusableRowError(DropReason.UNKNOWN_ROLE, f"{where}.{key} is {found}; expected one of {sorted(roles)}")
    return role, "value" if "value" in turn and "content" not in turn else "content"


def _reasoning(turn: Mapping[str, Any], where: str) -> str:
    name = next((name for name in REASONING if turn.get(name)), None)
    return "" if name is None else text_of(turn[name], f"{where}.{name}")


def _is_to_learn(turn: Mapping[str, Any], where: str) -> bool:
    """Return what the turn's weight says, by whatever name. Raises UnusableRowError where two say different things."""
    marks = {name: truth_of(turn[name]) for name in WEIGHTS if turn.get(name) is not None}
    if not marks:
        return True
    name, learned = next(iter(marks.items()))
    if learned is None:
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where}.{name} is {turn[name]!r}; expected 0 or 1, false or true"
        )
    other = next((other for other, says in marks.items() if says is not None and says != learned), None)
    if other is not None:
        raise UnusableRowError(
            DropReason.MALFORMED,
            f"{where}.{name} is {turn[name]!r} and {other} is {turn[other]!r}, so nobody knows whether to learn it; "
            "leave one of them out",
        )
    return learned


def _told(turn: Mapping[str, Any]) -> str:
    """Say which keys a turn has."""
    return f"it has {', '.join(sorted(map(as_told, map(str, turn)))) or 'no keys'}"


def _calls(turn: Mapping[str, Any], named: str, content: Any, where: str) -> str:
    """Return the calls of a turn as JSON text, empty where there are none."""
    if named in CALLING_ROLES:
        calls = from_json_text(content, f"{where}.{'value' if 'value' in turn else 'content'}")
        calls = calls if isinstance(calls, list) else [calls]
        return parse_calls([{"type": "function", "function": call} for call in calls], where)
    calls = from_json_text(turn.get("tool_calls") or None, f"{where}.tool_calls")
    if calls or not turn.get("function_call"):
        return parse_calls(calls, f"{where}.tool_calls") if calls else ""
    call = from_json_text(turn["function_call"], f"{where}.function_call")
    return parse_calls([{"type": "function", "function": call}], f"{where}.function_call")
