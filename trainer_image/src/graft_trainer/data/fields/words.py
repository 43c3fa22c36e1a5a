"""The words of a turn: one text, or the parts that it is given in where all of them are text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.texts import text_of

TEXTS: Final = ("text", "input_text", "output_text")
THOUGHTS: Final = ("thinking", "reasoning")
REFUSAL: Final = "refusal"
"""Types of parts; the text of one that refuses is under that name."""


def words_of(content: Any, where: str) -> tuple[str, str]:
    """Return the words of a turn and the reasoning beside them; a list of parts is joined.

    Raises UnusableRowError where a part is no text.
    """
    if not isinstance(content, list) or not content:
        return text_of(content, where), ""
    if all(isinstance(part, str) for part in content):
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where} is a list of texts; give one text, or parts of type text"
        )
    words: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind = _kind(part)
        if kind in TEXTS:
            words.append(text_of(part.get("text"), where))
        elif kind == REFUSAL:
            words.append(text_of(part.get(REFUSAL), where))
        elif kind in THOUGHTS:
            # Mistral's files have parts in it again.
            thoughts += words_of(part.get(kind) or part.get("text"), where)
        else:
            raise UnusableRowError(
                DropReason.NOT_TEXT, f"{where} has parts that are not text ({kind}); only text can be learned"
            )
    return "".join(words), "".join(thoughts)


def _kind(part: Any) -> str:
    """Return the type of a part, which some leave out of a text; else what there is of it."""
    if not isinstance(part, Mapping):
        return type(part).__name__
    if part.get("type") is not None:
        return str(part["type"])
    return ", ".join(sorted(str(key) for key, value in part.items() if value is not None))
