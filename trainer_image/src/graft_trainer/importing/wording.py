"""Quotes names and values from outside in messages: on one line, shortened, without control characters. Pure.

Messages are cut at a limit and end with the remedy, so a long value before it would push the remedy out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LONGEST: Final = 200
"""Characters that a message gives of a name or a value."""
TOLD: Final = 4
"""Names that a message gives of many."""


def shown(value: object, longest: int = LONGEST) -> str:
    """Return a value from outside as a message may hold it: its beginning and end, without control characters."""
    text = str(value)
    if len(text) > longest:
        # Names of tensors say at their end what they are.
        text = f"{text[: longest // 2]}…{text[len(text) - longest // 2 + 1 :]}"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def some(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(map(shown, names[:TOLD])) + more


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Sort the modules of block 10 behind those of block 9."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in name.split("."))
