"""Matches modules with the patterns of PEFT's configuration, as PEFT does, without evaluating them. Pure.

PEFT takes each for a regular expression, and one from outside may take for ever. What people and libraries write are
names, ends of names, and both with ``^``, ``$``, escaped dots, and ``.*`` for any part.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_NAME: Final = frozenset(string.ascii_letters + string.digits + "_-")
_ANY: Final = ""
"""Stands for ``.``: any one character."""
_SEVERAL: Final = ".*"


@dataclass(frozen=True, slots=True)
class ModulePattern:
    """A pattern, as the pieces between its ``.*``: each a character or any one, in their order."""

    pieces: tuple[tuple[str, ...], ...]
    from_start: bool

    @classmethod
    def parse(cls, pattern: str) -> ModulePattern:
        """Read a pattern.

        Raises:
            ValueError: a part of it would have to be evaluated.
        """
        name = pattern.removeprefix("^")
        if name.endswith("$") and not name.endswith("\\$"):
            name = name[:-1]
        return cls(tuple(_piece(piece) for piece in name.split(_SEVERAL)), pattern.startswith("^"))

    def matches(self, module: str) -> bool:
        """Tell whether PEFT would match it with a module: with its whole name, or with what follows one of its dots."""
        last = self.pieces[-1]
        if len(last) > len(module) or not _is_at(last, module, len(module) - len(last)):
            return False
        starts = [0] if self.from_start else [0, *(index + 1 for index, one in enumerate(module) if one == ".")]
        return any(_covers(self.pieces, module, start) for start in starts)


def _piece(text: str) -> tuple[str, ...]:
    found = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if not character or character.isalnum():
                raise ValueError(f"\\{character} would have to be evaluated")
            found.append(character)
        elif character == ".":
            found.append(_ANY)
        elif character in _NAME:
            found.append(character)
        else:
            raise ValueError(f"{character} would have to be evaluated")
    return tuple(found)


def _covers(pieces: Sequence[Sequence[str]], module: str, start: int) -> bool:
    """Tell whether the pieces, with anything between them, are all of a module's name from ``start`` on.

    Each piece is taken where it comes first, which leaves most to those after it: nothing is tried twice.
    """
    first, *others = pieces
    end = len(module) - (len(pieces[-1]) if others else 0)
    position = start + len(first)
    if position > end or not _is_at(first, module, start):
        return False
    if not others:
        return position == end
    for piece in others[:-1]:
        found = next((at for at in range(position, end - len(piece) + 1) if _is_at(piece, module, at)), None)
        if found is None:
            return False
        position = found + len(piece)
    return _is_at(others[-1], module, end)


def _is_at(piece: Sequence[str], module: str, position: int) -> bool:
    return all(one in (_ANY, module[position + index]) for index, one in enumerate(piece))
