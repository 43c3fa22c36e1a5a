"""Makes texts that others wrote safe to print to a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Scripts and emoji are written with the two joiners."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs"})
"""Control characters can move the cursor or change colours; format characters can turn the direction of a text."""
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Return a text with each character that a terminal acts upon replaced by U+FFFD."""
    lines = text.replace("\r\n", "\n")
    return "".join(_REPLACEMENT if _acts(character) else character for character in lines)


def _acts(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _UNSEEN
