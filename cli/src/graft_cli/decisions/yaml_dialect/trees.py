"""Trees of nodes: how large they are once aliases stand for what they name, and which keys they repeat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from graft_cli.decisions.yaml_dialect.scalars import OWN

MOST_BY_ALIASES: Final = 1_000_000
"""Nodes of a document beyond those that are written down; a few lines of aliases can stand for more than memory."""

Path = tuple[str | int, ...]


def refuse_excessive_aliases(root: yaml.Node) -> None:
    """Raise ValueError for a document that contains itself, or that aliases make very large, as kubectl does."""
    sizes: dict[int, int] = {}
    begun: set[int] = set()

    def size(node: yaml.Node) -> int:
        if (known := sizes.get(id(node))) is not None:
            return known
        if id(node) in begun:
            raise ValueError("an anchor contains itself")
        begun.add(id(node))
        sizes[id(node)] = found = 1 + sum(map(size, children(node)))
        return found

    if size(root) - len(sizes) > MOST_BY_ALIASES:
        raise ValueError("aliases make it excessively large")


def children(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the nodes below a node: keys and values of a mapping, items of a list."""
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from item if isinstance(item, tuple) else (item,)


def repeated_keys(root: yaml.Node) -> Iterator[tuple[Path, int, int]]:
    """Yield each key that its mapping has already: its path, its line, and that of the first one."""
    seen: set[int] = set()

    def look(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int, int]]:
        if id(node) in seen:
            return
        seen.add(id(node))
        lines: dict[str, int] = {}
        items: Sequence[Any] = []
        if isinstance(node, yaml.CollectionNode):
            items = getattr(node, OWN, node.value) or []
        for number, item in enumerate(items):
            key, child = item if isinstance(item, tuple) else (None, item)
            below = (*path, number if key is None else str(key.value))
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
                line = key.start_mark.line + 1
                if key.value in lines:
                    yield below, line, lines[key.value]
                lines.setdefault(key.value, line)
            yield from look(child, below)

    yield from look(root, ())


def json_as_yaml(text: str) -> str:
    """Return a stream of JSON objects as YAML of the same lines; anything else as it is.

    YAML allows no tabs before a value and wants a mark between documents; kubectl reads JSON as JSON.
    """
    decoder, place, parts = json.JSONDecoder(), 0, list[str]()
    while (rest := text[place:].lstrip("\ufeff \t\r\n")).startswith("{"):
        begin = len(text) - len(rest)
        try:
            _, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return text
        mark = ("" if text[begin - 1 : begin] in ("", "\n") else "\n") + "--- "
        parts += [text[place:begin].lstrip("\ufeff").replace("\t", " "), mark, text[begin:end].replace("\t", " ")]
        place = end
    return "".join(parts) if parts and not rest else text
