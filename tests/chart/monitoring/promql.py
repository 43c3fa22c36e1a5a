"""What a PromQL expression asks for: names of series, and the labels that it goes by. Of expressions that parse."""

from __future__ import annotations

import re
from collections.abc import Iterator

WORDS = frozenset(
    {
        "and",
        "or",
        "unless",
        "on",
        "ignoring",
        "by",
        "without",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "inf",
        "nan",
    }
)
SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?P<matchers>\{[^}]*\})?")
MATCHER = re.compile(r"(?P<label>\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\((?P<labels>[^)]*)\)")


def series_in(expression: str) -> dict[str, set[str]]:
    """Return the names of the series that are asked for, each with the labels of its matchers."""
    found: dict[str, set[str]] = {}
    for name, matchers in _selectors(expression):
        found.setdefault(name, set()).update(match["label"] for match in MATCHER.finditer(matchers))
    return found


def labels_in(expression: str) -> set[str]:
    """Return the labels that series are put together by."""
    lists = (match["labels"] for match in GROUPING.finditer(_without_strings(expression)))
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


def _selectors(expression: str) -> Iterator[tuple[str, str]]:
    text = GROUPING.sub(" ", _without_strings(expression))
    text = re.sub(r"\[[^\]]*\]", " ", text)  # ranges
    for match in SELECTOR.finditer(text):
        before, after = text[: match.start()], text[match.end() :]
        is_function = match["matchers"] is None and after.lstrip().startswith("(")
        is_number = bool(re.search(r"[0-9.]$", before))  # the unit of a duration, or an exponent
        if match["name"].lower() not in WORDS and not is_function and not is_number:
            yield match["name"], match["matchers"] or ""


def _without_strings(expression: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
