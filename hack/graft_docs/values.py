"""The chart's values, from ``values.yaml`` and its comments.

A comment belongs to the value below it; one that stands above a mapping is told above the table of that mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from graft_docs.markdown import code, page, table


@dataclass(slots=True)
class Value:
    """One value: its path, its default and what the comment above it says."""

    path: tuple[str, ...]
    default: Any
    comment: str
    below: list[Value] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The path as ``--set`` takes it."""
        return ".".join(self.path)


def values_page(text: str) -> str:
    """Return the page of a ``values.yaml``."""
    top = list(parsed(text))
    single = [value for value in top if not value.below]
    parts = [section(value) for value in top if value.below]
    others = "## Others\n\n" + values_table(single) if single else ""
    return page(
        "Values of the chart",
        "What `helm install graft … --set name=value` takes. `values.schema.json` refuses names that are not here.",
        *parts,
        others,
        description="Every value of Graft's Helm chart with its default and meaning, generated from values.yaml.",
    )


def section(value: Value) -> str:
    """Return the heading of a mapping, what is said of it, and its values."""
    return "\n\n".join(part for part in (f"## {value.name}", value.comment, values_table(leaves(value))) if part)


def leaves(value: Value) -> list[Value]:
    """Return the values within a mapping that can be set one by one, each mapping that is told of before its own."""
    found: list[Value] = []
    for child in value.below:
        is_told = not child.below or child.comment
        found += [child] if is_told else []
        found += leaves(child)
    return found


def values_table(values: Sequence[Value]) -> str:
    """Return a table of values."""
    rows = [(code(item.name), default_of(item), item.comment) for item in values]
    return table(("value", "default", "meaning"), rows)


def default_of(value: Value) -> str:
    """Return a value's default; that of a mapping is told with what is in it."""
    return "" if value.below else code(json.dumps(value.default, ensure_ascii=False))


def parsed(text: str) -> Iterator[Value]:
    """Yield the values at the top of the file, each with what is below it."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml is not a mapping")
    yield from _below(root, (), text.splitlines(), yaml.safe_load(text))


def _below(node: yaml.MappingNode, path: tuple[str, ...], lines: Sequence[str], content: Any) -> Iterator[Value]:
    for key, child in node.value:
        name = key.value
        value = Value((*path, name), content[name], comment_above(lines, key.start_mark.line))
        if isinstance(child, yaml.MappingNode) and not child.flow_style and child.value:
            value.below = list(_below(child, value.path, lines, content[name]))
        yield value


def comment_above(lines: Sequence[str], line: int) -> str:
    """Return the comment that ends right above a line, as one paragraph."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip().lstrip("#").strip())
    return " ".join(found).removeprefix("-- ")
