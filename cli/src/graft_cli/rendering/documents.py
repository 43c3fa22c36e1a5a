"""JSON and YAML of what a verb has found: the same facts as the table, under the API's names."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Literal

import click
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from graft_cli.decisions.yaml_dialect.scalars import as_yaml
from graft_cli.rendering.texts import is_unseen

Format = Literal["table", "json", "yaml"]


def plain(value: Any) -> Any:
    """Return the JSON form of a dataclass, a model or what they hold."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if is_dataclass(value) and not isinstance(value, type):
        return {to_camel(field.name): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def print_document(value: Any, form: Format) -> None:
    """Print JSON or YAML."""
    found = plain(value)
    text = as_document(found, form)
    click.echo(text if can_be_written(text) else as_document(found, form, escaped=True), nl=False)


def as_document(found: Any, form: Format, *, escaped: bool = False) -> str:
    """Return plain data as text; ``escaped``: in ASCII alone, which says the same to whoever parses it."""
    if form == "json":
        return f"{json.dumps(found, indent=2, ensure_ascii=escaped)}\n"
    return as_yaml(found, escaped=escaped)


def can_be_written(text: str) -> bool:
    """Whether a text does nothing to a terminal, and the encoding of stdout has all of its characters."""
    if is_unseen(text):
        return False
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
