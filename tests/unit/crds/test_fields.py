"""Field by field: the schemas say what the models do. Read from the models' own fields, not from their JSON schema."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel as PydanticModel
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

import generate_crds

Schema = dict[str, Any]


def specs() -> Iterator[tuple[str, str, FieldInfo, Schema, Schema]]:
    """Yield every field below ``spec`` as (kind, path, field, its schema, its parent's schema)."""
    for kind, (spec, _) in generate_crds.MODELS.items():
        definition = generate_crds.custom_resource_definition(kind)
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for path, field, node, parent in walk(spec, schema, "spec"):
            yield kind, path, field, node, parent


def walk(model: type[PydanticModel], schema: Schema, path: str) -> Iterator[tuple[str, FieldInfo, Schema, Schema]]:
    aliases = {field.alias: field for field in model.model_fields.values()}
    assert aliases.keys() == schema["properties"].keys(), path
    for alias, field in aliases.items():
        node = schema["properties"][alias]
        yield f"{path}.{alias}", field, node, schema
        inner = bare_type(field.annotation)
        if get_origin(inner) is tuple:
            inner, node = bare_type(get_args(inner)[0]), node["items"]
        if isinstance(inner, type) and issubclass(inner, PydanticModel):
            yield from walk(inner, node, f"{path}.{alias}")


def bare_type(annotation: Any) -> Any:
    """Return a type without its ``| None`` and without its constraints."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(branch for branch in get_args(annotation) if branch is not type(None))
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    return annotation


def constraints(field: FieldInfo) -> list[Any]:
    """Return the constraints of a field, those inside of ``Annotated[…] | None`` included."""
    found = list(field.metadata)
    for annotation in (field.annotation, *get_args(field.annotation)):
        found += getattr(annotation, "__metadata__", ())
    return found


FIELDS = list(specs())
each_field = pytest.mark.parametrize(
    ("field", "node", "parent", "alias"),
    [(field, node, parent, path.rpartition(".")[2]) for _, path, field, node, parent in FIELDS],
    ids=[f"{kind}.{path}" for kind, path, *_ in FIELDS],
)


@each_field
def test_required(field: FieldInfo, node: Schema, parent: Schema, alias: str) -> None:
    assert field.is_required() == (alias in parent.get("required", []))


@each_field
def test_default(field: FieldInfo, node: Schema, parent: Schema, alias: str) -> None:
    if field.is_required():
        assert "default" not in node
        return
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, PydanticModel):
        default = default.model_dump(mode="json", by_alias=True, exclude_none=True)
    elif isinstance(default, tuple):
        default = list(default)
    assert without_empty(node.get("default")) == without_empty(default)


def without_empty(value: Any) -> Any:
    """Return the value without empty lists and maps: to the models an absent one is an empty one."""
    if isinstance(value, dict):
        inner = {name: without_empty(child) for name, child in value.items()}
        value = {name: child for name, child in inner.items() if child is not None}
    return None if value in ({}, []) else value


@each_field
def test_enum(field: FieldInfo, node: Schema, parent: Schema, alias: str) -> None:
    inner = bare_type(field.annotation)
    choices = list(get_args(inner)) if get_origin(inner) is Literal else None
    assert node.get("enum") == choices


@each_field
def test_bounds(field: FieldInfo, node: Schema, parent: Schema, alias: str) -> None:
    is_text = bare_type(field.annotation) is str
    expected: Schema = {}
    for constraint in constraints(field):
        match constraint:
            case annotated_types.Ge(ge=bound):
                expected["minimum"] = bound
            case annotated_types.Le(le=bound):
                expected["maximum"] = bound
            case annotated_types.MinLen(min_length=bound):
                expected["minItems"] = bound
            case annotated_types.MaxLen(max_length=bound):
                expected["maxItems" if node["type"] == "array" else "maxProperties"] = bound
            case StringConstraints() if is_text:
                lengths = {"minLength": constraint.min_length, "maxLength": constraint.max_length}
                texts: Schema = {**lengths, "pattern": constraint.pattern}
                expected |= {keyword: value for keyword, value in texts.items() if value is not None}
    keywords = ("minimum", "maximum", "minItems", "maxItems", "maxProperties", "minLength", "maxLength", "pattern")
    assert {keyword: node[keyword] for keyword in keywords if keyword in node} == expected
