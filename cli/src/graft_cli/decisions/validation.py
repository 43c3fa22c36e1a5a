"""Errors of the models in words that name the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel as PydanticModel

from graft_cli.decisions.yaml_dialect.trees import Path
from graft_cli.errors import did_you_mean
from graft_operator.api.base_model import BaseModel
from graft_operator.api.lora_adapter import LoraAdapter

ROOTS: Final = (LoraAdapter, BaseModel)
TYPE_WORDS: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def fix_for(item: Mapping[str, Any], path: Path, spelling: str) -> tuple[str, str, Path]:
    """Return what is wrong, the fix and the field, for one error of pydantic."""
    kind, given = item["type"], item.get("input")
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        return "there is no such field", did_you_mean(name, known_fields(path), "remove it"), path
    if kind == "missing":
        return "is required", f"add {name}", path
    if kind == "string_type" and isinstance(given, int | float) and not isinstance(given, bool):
        return f"must be a string, and {spelling} is a number", f'write it in quotes: {name}: "{spelling}"', path
    if kind == "string_type" and isinstance(given, bool):
        written = f'write it in quotes: {name}: "{spelling}"' if spelling else ""
        return f"must be a string, and {spelling or given} is {str(given).lower()}", written, path
    if kind == "value_error":
        return value_error(str(item["msg"]).removeprefix("Value error, "), path)
    if kind == "string_pattern_mismatch":
        return f"{spelling or given!r} is not written as it has to be", f"match {item['ctx']['pattern']}", path
    if kind in TYPE_WORDS:
        hint = "take the quotes away" if isinstance(given, str) and kind.startswith(("int", "bool")) else ""
        return f"must be {TYPE_WORDS[kind]}", hint, path
    text = str(item["msg"]).removeprefix("Input ")
    return f"{spelling} {text}".strip() if text.startswith("should") else text, "", path


def value_error(message: str, path: Path) -> tuple[str, str, Path]:
    """Return a rule that is broken; rules over several fields begin with the field that they are about."""
    first, _, rest = message.partition(" ")
    what, _, fix = message.partition("; ")
    below = tuple(first.removesuffix(":").split("."))
    if first.endswith(":") and below[0] in known_fields((*path, below[0])):
        return rest.partition("; ")[0], fix, (*path, *below)
    if not path and first.startswith("metadata."):
        return rest.partition("; ")[0], fix, tuple(first.split("."))
    return what, fix, path


def known_fields(path: Path) -> list[str]:
    """Return the fields that the parent of ``path`` has, in the CRD's spelling."""
    found: set[str] = set()
    for root in ROOTS:
        model = _descend(root, path[:-1])
        if model is not None:
            found |= {field.alias or name for name, field in model.model_fields.items()}
    return sorted(found)


def _descend(model: type[PydanticModel], path: Path) -> type[PydanticModel] | None:
    for part in path:
        if isinstance(part, int):
            continue
        field = next((item for name, item in model.model_fields.items() if part in (item.alias, name)), None)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return None
        model = inner
    return model


def _model_in(annotation: Any) -> type[PydanticModel] | None:
    """Return the model that an annotation such as ``tuple[Toleration, ...]`` or ``X | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, PydanticModel):
        return annotation
    inner = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)
