"""JSON and YAML of what a verb has found: the same facts as the table, under the API's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Literal

import click
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from graft_cli.decisions.manifests import as_yaml

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
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def print_document(value: Any, form: Format) -> None:
    """Print JSON or YAML."""
    found = plain(value)
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(as_yaml(found), nl=False)
