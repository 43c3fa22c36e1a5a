"""Objects that are valid but for the one value that is tried."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, cast

from tests.fields.schema import ITEM, VALUE, Field, Schema, fields, specs
from tests.fields.values import keys, limits, nonsense, sample

Object = dict[str, Any]
API_VERSION: Final = "graft.dev/v1alpha1"
SOURCES: Final = frozenset({"s3", "huggingFace", "configMap", "persistentVolumeClaim", "oci", "image"})
"""Exactly one of them may be set wherever they are."""
BEGUN: Final[dict[str, Object]] = {"source": {"s3": {"uri": "s3://models/adapters/tiny/"}}}
"""What an object is begun with, by its name, that must hold more than its schema says."""
PLAIN: Final[dict[str, Object]] = {
    "BaseModel": {"source": {"s3": {"uri": "s3://models/tiny"}}},
    "LoraAdapter": {"baseModelRef": {"name": "tiny"}, "dataset": {"s3": {"uri": "s3://data/rows.jsonl"}}},
}


@dataclass(frozen=True, slots=True)
class Case:
    """One value of one field. `sense`: unset, limit or nonsense."""

    field: Field
    sense: str
    label: str
    spec: Object
    value: Any = None

    def __str__(self) -> str:
        return f"{self.field} {self.sense} ({self.label})"

    def manifest(self, name: str) -> Object:
        """Return the whole object."""
        return {"apiVersion": API_VERSION, "kind": self.field.kind, "metadata": {"name": name}, "spec": self.spec}


def all_fields() -> Iterator[Field]:
    """Yield every field of every kind."""
    for kind, spec in specs().items():
        yield from fields(kind, spec)


def cases(field: Field, spec_schema: Schema) -> Iterator[Case]:
    """Yield every case of a field."""
    if field.path[-1] not in (ITEM, VALUE):
        set_once = placed(field, spec_schema, sample(field.node))
        yield Case(field, "unset", "required" if field.required else "optional", without(field, set_once))
    for sense, values in (("limit", limits(field.node)), ("nonsense", nonsense(field.node))):
        for label, value in values:
            yield Case(field, sense, label, placed(field, spec_schema, value), value)


def placed(field: Field, spec_schema: Schema, value: Any) -> Object:
    """Return the plain spec of the kind with a value at the field, and what its parents require besides."""
    spec = deepcopy(PLAIN[field.kind])
    schema, node = spec_schema, cast(Any, spec)
    *parents, last = field.path[1:]
    for step in parents:
        node, schema = entered(node, schema, step)
    if last in SOURCES:
        drop_other_sources(node, last)
    if last == ITEM:
        node.clear()
        node.append(value)
    else:
        node[key_of(schema, last)] = value
    return spec


def entered(node: Any, schema: Schema, step: str) -> tuple[Any, Schema]:
    """Return what a step of a path leads to, made where it is missing."""
    if step == ITEM:
        if not node:
            node.append(sample(schema["items"]))
        return node[0], schema["items"]
    if step == VALUE:
        return node.setdefault(keys(schema)[0], sample(schema["additionalProperties"])), schema["additionalProperties"]
    child = schema["properties"][step]
    if step in SOURCES:
        drop_other_sources(node, step)
    if step not in node:
        # An empty list is entered by its first item; a map or an object is begun with what it must have.
        node[step] = [] if child["type"] == "array" else deepcopy(BEGUN.get(step)) or sample(child)
    return node[step], child


def key_of(schema: Schema, last: str) -> str:
    """Return the key that the last step of a path names."""
    return keys(schema)[0] if last == VALUE else last


def drop_other_sources(node: Object, kept: str) -> None:
    """Leave one source where several would be refused for another reason than the one that is tried."""
    for other in SOURCES - {kept}:
        node.pop(other, None)


def without(field: Field, spec: Object) -> Object:
    """Return the spec without the field."""
    spec = deepcopy(spec)
    node: Any = spec
    for step in field.path[1:-1]:
        node = node[0] if step == ITEM else next(iter(node.values())) if step == VALUE else node[step]
    node.pop(field.path[-1])
    return spec
