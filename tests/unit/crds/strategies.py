"""Hypothesis strategies for what a pydantic model accepts, made from the JSON schema that it writes of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import strategies as st
from pydantic import BaseModel as PydanticModel
from pydantic import ValidationError

Schema = dict[str, Any]

MOST_ITEMS = 3
"""Longer lists and maps find nothing new and cost time."""

CHOICES = {
    "AdapterSource": ("s3", "persistentVolumeClaim", "huggingFace", "oci"),
    "BaseSource": ("huggingFace", "s3", "persistentVolumeClaim", "image"),
    "DatasetSource": ("s3", "huggingFace", "configMap", "persistentVolumeClaim"),
    "MixedDataset": ("s3", "huggingFace", "persistentVolumeClaim"),
}
"""Fields of which exactly one is to be set: objects with none or several would be made up and thrown away."""


def wire_forms(model: type[PydanticModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects that satisfy the model's schema; its own validators may still refuse them.

    Those of the models inside of it have had their say: of objects with many parts nearly all would be refused.
    """
    schema = model.model_json_schema()
    return _values(schema, Definitions(schema.get("$defs", {}), {found.__name__: found for found in parts_of(model)}))


def parts_of(model: type[PydanticModel]) -> Iterator[type[PydanticModel]]:
    """Yield the models of which a model is made, however deep inside."""
    annotations = [field.annotation for field in model.model_fields.values()]
    while annotations:
        annotation = annotations.pop()
        annotations += get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, PydanticModel):
            yield annotation
            yield from parts_of(annotation)


def is_refused_by_a_validator(model: type[PydanticModel], value: Any) -> bool:
    """Whether validators refuse a value, and nothing else does: what a bound refuses should not have been made."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()} == {"value_error"}
    return False


@dataclass(frozen=True)
class Definitions:
    """What references of a schema lead to."""

    schemas: Schema
    models: Mapping[str, type[PydanticModel]]


def _referenced(name: str, definitions: Definitions) -> st.SearchStrategy[Any]:
    values, model = _values(definitions.schemas[name], definitions), definitions.models[name]
    return values.filter(lambda value: not is_refused_by_a_validator(model, value))


def _values(node: Schema, definitions: Definitions) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return _referenced(node["$ref"].rpartition("/")[2], definitions)
    if "anyOf" in node:
        return st.one_of([_values(branch, definitions) for branch in node["anyOf"] if branch != {"type": "null"}])
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(node.get("minimum", -(2**53)), node.get("maximum", 2**53))
        case "string":
            return _texts(node)
        case "array":
            most = min(node.get("maxItems", MOST_ITEMS), MOST_ITEMS)
            items = _values(node["items"], definitions)
            return st.lists(items, min_size=node.get("minItems", 0), max_size=most)
        case "object" if isinstance(node.get("additionalProperties"), dict):
            values = _values(node["additionalProperties"], definitions)
            return st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), values, max_size=MOST_ITEMS)
        case "object":
            required = set(node.get("required", []))
            fields = {name: _values(child, definitions) for name, child in node["properties"].items()}
            return _objects(fields, required, CHOICES.get(node.get("title", ""), ()))
    raise NotImplementedError(f"no strategy for {node}")


def _objects(
    fields: Mapping[str, st.SearchStrategy[Any]], required: set[str], choices: tuple[str, ...]
) -> st.SearchStrategy[dict[str, Any]]:
    if choices:
        besides = {name: values for name, values in fields.items() if name not in choices}
        return st.sampled_from(choices).flatmap(
            lambda chosen: _objects({**besides, chosen: fields[chosen]}, required | {chosen}, ())
        )
    return st.fixed_dictionaries(
        {name: values for name, values in fields.items() if name in required},
        optional={name: values for name, values in fields.items() if name not in required},
    )


def _texts(node: Schema) -> st.SearchStrategy[str]:
    longest = node.get("maxLength", 64)
    if "pattern" in node:
        matching = st.from_regex(
            node["pattern"].removesuffix("$"), fullmatch=True, alphabet=st.characters(codec="ascii")
        )
        return matching.filter(lambda text: len(text) <= longest)
    return st.text(st.characters(codec="utf-8"), min_size=node.get("minLength", 0), max_size=min(longest, 64))
