"""Keys of rows and turns that nothing is made of: they are told, since nobody may lose a column without knowing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.dropped_rows import UnusableRowError
from graft_trainer.data.fields.calls import parse_tools
from graft_trainer.data.fields.texts import NOTHING, from_json_text
from graft_trainer.data.formats import EXTRA, PREFERENCES, SYSTEM, TOOLS, TURNS, Record, given, may_be_turns, pair_of
from graft_trainer.data.turns import REASONING, SHAREGPT_ROLES, unused_keys
from graft_trainer.data.written_turns import turns_in

ANSWERING: Final = frozenset({"assistant", "tool"})
"""Roles of turns that belong to an answer: what the assistant says, and what its calls return."""

PAIRS: Final = frozenset({*TURNS, *SYSTEM, *EXTRA, *PREFERENCES, "prompt", "history"})
"""What a pair may be made of, beside its question."""


def unused_in(record: Record, format_name: str) -> set[str]:
    """Return the keys of a record and its turns that nothing is made of."""
    turns = next((key for key in TURNS if may_be_turns(record.get(key), key)), None)
    if turns is None or format_name not in ("Messages", "ShareGPT"):
        pair = pair_of(record, format_name)
        return _left(record, _used(record, format_name, pair)) | unused_in_turns(record, *(pair or ()))
    read = from_json_text(record[turns], turns)
    begins = read[0] if read else {}
    has_system = isinstance(begins, Mapping) and begins.get("role", begins.get("from")) in ("system", "developer")
    system = None if has_system else given(record, *SYSTEM)
    return _left(record, {turns, system, *_used_tools(record)}) | unused_keys(read, turns)


def unused_beside(record: Record, asks: tuple[str, ...]) -> set[str]:
    """Return the keys that a pair is not made of; ``asks`` are names of its question, of which the first is taken."""
    turns = (key for key in TURNS if isinstance(record.get(key), list))
    used = {*PAIRS, given(record, *asks), *_used_tools(record)}
    if _asks_something_else(record):
        used.discard("prompt")
    return _left(record, used) | unused_in_turns(record, *PREFERENCES, "prompt", *turns)


def _asks_something_else(record: Record) -> bool:
    """Tell whether a pair's prompt is a text beside turns, which are taken for it, that don't say it again."""
    prompt = record.get("prompt")
    if not isinstance(prompt, str) or isinstance(_turns(prompt, "prompt"), list):
        return False
    fields = (_turns(record.get(name), name) for name in (PREFERENCES[0], *TURNS))
    beside = [turn for turns in fields if isinstance(turns, list) for turn in turns if isinstance(turn, Mapping)]
    asked = [str(turn.get("content", turn.get("value"))) for turn in beside if _speaker(turn) not in ANSWERING]
    return bool(asked) and not any(prompt.strip() in words for words in asked)


def _speaker(turn: Mapping[str, Any]) -> str | None:
    return SHAREGPT_ROLES.get(str(turn.get("role", turn.get("from"))))


def unused_in_turns(record: Record, *names: str) -> set[str]:
    """Return what nothing is made of in fields that may hold turns, or texts of them."""
    return {key for name in names for key in unused_keys(_turns(record.get(name), name), name)}


def _turns(value: Any, name: str) -> Any:
    try:
        return turns_in(value, name) if isinstance(value, str) else value
    except UnusableRowError:
        # Of a field that isn't read; one that is has been refused before.
        return None


def _left(record: Record, used: set[str | None]) -> set[str]:
    """Return the keys that say something and aren't used."""
    return {str(key) for key, value in record.items() if value not in NOTHING} - used


def _used_tools(record: Record) -> set[str]:
    """Return under which names a record declares its tools; where those differ, only the first is taken."""
    names = [name for name in TOOLS if record.get(name) not in NOTHING]
    if len(names) < 2:
        return {*names}
    declared = {name: _declared(record, name) for name in names}
    first = next(filter(None, declared.values()), "")
    return {name for name, text in declared.items() if text in ("", first)}


def _declared(record: Record, name: str) -> str | None:
    try:
        return parse_tools(record[name], name)
    except UnusableRowError:
        return None


def _used(record: Record, format_name: str, pair: tuple[str, str] | None) -> set[str | None]:
    """Return the keys of which a text, or a question and its answer, is made."""
    if pair is None:
        return {"text"}
    extra = given(record, *(name for name in EXTRA if name != pair[0]))
    history = "history" if format_name == "Alpaca" or isinstance(record.get("history"), list) else None
    return {*pair, *_used_tools(record), given(record, *SYSTEM), given(record, *REASONING[:2]), extra, history}
