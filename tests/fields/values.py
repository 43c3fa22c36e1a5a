"""Values for a field, from its schema alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tests.fields.schema import Schema

CANDIDATES: Final = (
    *("tiny", "16", "0.5", "s3://models/rows.jsonl", "team/rows", "1Gi", "24Gi", "--flag", "--flag=1", "a.jsonl"),
    *("sha256:" + "a" * 64, "https://example.com", "nvidia.com/gpu", "q_proj", "rows/a", "NAME", "main", "100m", "1"),
    *("registry.example.com/image:1", "64", "2e-4"),
)
"""Texts of all the forms that patterns ask for; the first that fits is a field's sample."""
NONSENSE_TEXTS: Final = ("☃ not\nthis!", "-", "")
Labelled = tuple[str, Any]
"""What a value is, and the value."""


def sample(node: Schema, turn: int = 0) -> Any:
    """Return a valid value; another ``turn`` gives another one where there is more than one.

    Raises ValueError where no text of CANDIDATES fits.
    """
    if "enum" in node:
        return node["enum"][turn % len(node["enum"])]
    match node["type"]:
        case "boolean":
            return bool(turn % 2)
        case "integer":
            low = node.get("minimum", 0)
            return min(low + turn, node.get("maximum", low + turn))
        case "string":
            fitting = texts(node)
            return fitting[turn % len(fitting)]
        case "array":
            return [sample(node["items"], turn + number) for number in range(max(node.get("minItems", 0), 1))]
        case _:
            if isinstance(node.get("additionalProperties"), dict):
                return {keys(node)[turn % len(keys(node))]: sample(node["additionalProperties"], turn)}
            made = {name: sample(node["properties"][name], turn) for name in node.get("required", ())}
            if made.get("operator") == "In":  # which a rule of the schema takes with values alone
                made["values"] = [sample(node["properties"]["values"]["items"], turn)]
            return made


def keys(_node: Schema) -> tuple[str, ...]:
    """Return keys of a map."""
    return ("q_proj", "k_proj", "cpu", "memory")


def texts(node: Schema) -> list[str]:
    """Return the valid texts among CANDIDATES. Raises ValueError where there is none."""
    found = [text for text in CANDIDATES if fits(node, text)]
    if not found:
        raise ValueError(f"no candidate for the pattern {node.get('pattern')!r}: add one to CANDIDATES")
    return found


def fits(node: Schema, text: str) -> bool:
    """Whether a text keeps to a field's pattern and lengths."""
    longest, shortest = node.get("maxLength", len(text)), node.get("minLength", 0)
    return shortest <= len(text) <= longest and re.search(node.get("pattern", ""), text) is not None


def limits(node: Schema) -> Iterator[Labelled]:
    """Yield what is just allowed."""
    if "enum" in node:
        yield from ((f"{choice}", choice) for choice in node["enum"])
        return
    match node["type"]:
        case "boolean":
            yield from (("true", True), ("false", False))
        case "integer":
            yield from ((bound, node[bound]) for bound in ("minimum", "maximum") if bound in node)
        case "string":
            yield from ((f"such as {text[:20]}", text) for text in texts(node)[:3])
            yield from ((f"{length} characters", long) for length, long in longest_texts(node))
        case "array":
            if "maxItems" in node:
                yield "maxItems", [sample(node["items"], turn) for turn in range(node["maxItems"])]
            yield "minItems", [sample(node["items"], turn) for turn in range(node.get("minItems", 0))]
        case _:
            yield "sample", sample(node)


def longest_texts(node: Schema) -> Iterator[tuple[int, str]]:
    """Yield a text of the longest length, where one can be made by repeating the end of a valid one."""
    longest: int = node.get("maxLength", 0)
    for text in texts(node) if longest else ():
        stretched = text + text[-1] * (longest - len(text))
        if fits(node, stretched):
            yield longest, stretched
            return


def nonsense(node: Schema) -> Iterator[Labelled]:
    """Yield what must be refused."""
    if "enum" in node:
        yield from (("unknown choice", "Nonsense"), ("empty choice", ""), ("number", 7))
        return
    match node["type"]:
        case "boolean":
            yield from (("text", "yes"), ("number", 1))
        case "integer":
            yield from (("text", "seven"), ("fraction", 1.5), ("list", [1]))
            yield from (("below", node["minimum"] - 1) for _ in range("minimum" in node))
            yield from (("above", node["maximum"] + 1) for _ in range("maximum" in node))
        case "string":
            yield from (("number", 7), ("list", ["a"]))
            yield from ((f"nonsense {text!r}", text) for text in NONSENSE_TEXTS if not fits(node, text))
            yield from (("too long", "a" * (node["maxLength"] + 1)) for _ in range("maxLength" in node))
        case "array":
            yield from (("text", "a"), ("map", {"a": 1}), ("a null in it", [None]))
            if "maxItems" in node:
                yield "too many", [sample(node["items"], turn) for turn in range(node["maxItems"] + 1)]
            if node.get("minItems"):
                yield "too few", []
        case _:
            yield from (("text", "a"), ("list", [1]))
            if "properties" in node:
                yield "unknown field", sample(node) | {"nonsense": 1}
            elif "maxProperties" in node:
                value = sample(node["additionalProperties"])
                yield "too many", {f"m{number}": value for number in range(node["maxProperties"] + 1)}
