"""Turns that a table holds as a text, in a field that may be a text of its own: a question, or an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.texts import from_json_text, read_json
from graft_trainer.data.turns import SHAREGPT_ROLES, SPEAKERS, USED, WORDS

_OBJECTS: Final = re.compile(r"""\s*(?P<list>\[)?\s*\{\s*(?P<quote>["'])""")
"""How objects begin, one or a list of them, as JSON and as Python writes them."""
_TURNS: Final = re.compile(r"""\s*\[\s*\{\s*(?P<quote>["'])(?P<name>role|from|content|value)(?P=quote)\s*:""")
"""How most turns begin; others say first what number they have, or what the calls are."""
_HEAD: Final = 2000
"""Characters in which turns as Python writes them have to show that they are some."""


def turns_in(value: Any, key: str) -> list[Any] | None:
    """Return the turns that a question or an answer is given as, also as their JSON text; None where it is a text.

    Raises UnusableRowError for texts of which nobody knows whose turns they are.
    """
    if isinstance(value, str):
        value = _written(value, key)
    if isinstance(value, list) and any(isinstance(turn, str) for turn in value):
        raise UnusableRowError(
            DropReason.MALFORMED, f"{key} is a list of texts; give one text, or turns that have role and content"
        )
    return value if isinstance(value, list) else None


def _written(text: str, key: str) -> list[Any] | None:
    begins = _OBJECTS.match(text)
    if begins is None:
        return None
    if begins["quote"] == "'":
        if _is_python(text):
            raise UnusableRowError(
                DropReason.MALFORMED, f"{key} has turns as Python writes them ('role'); write them as JSON"
            )
        return None
    first = _TURNS.match(text)
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        return from_json_text(text, key) if first else None
    if begins["list"]:
        return found if _speaks(found[0]) or (first and first["name"] in SPEAKERS) else None
    # An answer may be an object that has a role; one of a turn's keys alone is no answer.
    is_turn = _speaks(found) and _speaker(found) in SHAREGPT_ROLES and found.keys() <= USED
    return [found] if is_turn else None


def _speaker(turn: Mapping[str, Any]) -> Any:
    return next((turn[name] for name in SPEAKERS if name in turn), None)


def _speaks(turn: Any) -> bool:
    """Tell whether an object says who says what."""
    if not isinstance(turn, Mapping) or not isinstance(_speaker(turn), str):
        return False
    return not turn.keys().isdisjoint({*WORDS, "tool_calls", "function_call"})


def _is_python(text: str) -> bool:
    """Tell whether a text is turns as Python writes them."""
    if _TURNS.match(text):
        return True
    head = text[:_HEAD]
    return all(any(f"'{name}':" in head for name in names) for names in (SPEAKERS, WORDS))
