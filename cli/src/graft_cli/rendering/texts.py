"""Makes texts that others wrote safe to print to a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Scripts and emoji are written with the two joiners."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control characters can move the cursor or change colours; format characters can turn the direction of a text."""
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*m")


def printable(text: str) -> str:
    """Return a text with each character that a terminal acts upon replaced by U+FFFD."""
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n")
    return "".join(_REPLACEMENT if _acts(character) else character for character in lines)


def on_one_line(text: str) -> str:
    """Return a printable text without line breaks: nobody's words may look like a line of ours."""
    return printable(text).replace("\n", " ")


def without_colours(line: str) -> str:
    """Return a line of a log as a terminal may show it: programs colour their logs, which is no harm and no need."""
    return printable(_COLOURS.sub("", line.removesuffix("\r")))


def is_unseen(text: str) -> bool:
    """Whether a text has characters that a terminal acts upon, or that no encoding can hold."""
    return not text.isprintable() and any(map(_acts, text))


def _acts(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _UNSEEN
