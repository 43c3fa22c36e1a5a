"""The fields of the CRDs, from the files that users install."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CRDS: Final = Path(__file__).resolve().parents[2] / "crds"
Schema = dict[str, Any]
ITEM, VALUE = "[]", "{}"
"""Steps of a path into the items of a list, and into the values of a map."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field below `spec`: where it is, what its schema says, and whether its parent requires it."""

    kind: str
    path: tuple[str, ...]
    node: Schema
    required: bool

    def __str__(self) -> str:
        return f"{self.kind}.{'.'.join(self.path)}".replace(".[]", "[]").replace(".{}", "{}")

    @property
    def name(self) -> str:
        """The last name of the path: what a message must say to name the field."""
        return next(step for step in reversed(self.path) if step not in (ITEM, VALUE))


def specs() -> dict[str, Schema]:
    """Return the schema of each kind's spec."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        definition = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]
        found[definition["names"]["kind"]] = schema["properties"]["spec"]
    return found


def fields(kind: str, spec: Schema) -> Iterator[Field]:
    """Yield every field of a kind's spec, parents before children."""
    yield from _below(kind, ("spec",), spec)


def _below(kind: str, path: tuple[str, ...], node: Schema) -> Iterator[Field]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        field = Field(kind, (*path, name), child, name in required)
        yield field
        yield from _below(kind, field.path, child)
    for step, inner in ((ITEM, node.get("items")), (VALUE, node.get("additionalProperties"))):
        if isinstance(inner, dict):
            if not inner.get("properties"):
                yield Field(kind, (*path, step), inner, False)
            yield from _below(kind, (*path, step), inner)
