"""The texts, numbers and marks that fields of rows hold, and JSON that is a text within them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError

TRUTHS: Final[Mapping[Any, bool]] = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
"""What a mark may be, in lower case; tables hold texts."""
NOTHING: Final[tuple[Any, ...]] = (None, "", [])
"""What a field holds that says nothing; a number may be 0."""
_AS_FLOAT: Final = re.compile(r"([01])\.0*")
"""How tables write a mark whose column lacks some: as a number with a point."""
_JSON_NAMES: Final[Mapping[type, str]] = {type(None): "null", dict: "an object", list: "a list", bytes: "bytes"}


def text_of(value: Any, where: str) -> str:
    """Return the value if it is a text that can be encoded, or a number, which tables hold for one.

    Raises UnusableRowError.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} is {value}, which is no number to learn; leave it out")
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    if not isinstance(value, str):
        kind = _JSON_NAMES.get(type(value), type(value).__name__)
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be a string, not {kind}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
        ) from error
    return value


def from_json_text(value: Any, where: str) -> Any:
    """Return what a JSON text says; anything else is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return read_json(value)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError(DropReason.MALFORMED, f"{where} is a string that is not JSON ({error})") from error


def read_json(text: str) -> Any:
    """Return what a JSON text says, and null for NaN: what tables lack is written so by those who know no null.

    Raises ValueError, also for an object that says two things under one key, of which one would be lost, and
    RecursionError.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next((key for key, value in pairs if found[key] != value), None)
        if twice is not None:
            raise ValueError(f"the key {twice!r} is there twice, with other values")
    return found


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def to_json_text(value: Any, where: str) -> str:
    """Return a value as JSON text. Raises UnusableRowError where JSON has no spelling for it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError(DropReason.MALFORMED, f"{where} can't be written as JSON ({error})") from error
    return text_of(text, where)


def truth_of(value: Any) -> bool | None:
    """Return what a mark of an answer says, in any form that sets have for it; None where it says neither."""
    if isinstance(value, str):
        value = value.strip().lower()
        if number := _AS_FLOAT.fullmatch(value):
            value = number[1]
    return TRUTHS.get(value) if isinstance(value, (bool, int, float, str)) else None
