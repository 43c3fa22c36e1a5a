"""Renders the templates of a version's documents. Whatever comes from tenants is escaped, or written as code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of this package; a value that the template asks for and nobody gave is an error.

    The result can be published: a NUL or half of a surrogate pair, which rows may hold, would make it no text.
    """
    text = _environment().get_template(template).render(values)
    return text.replace("\0", REPLACEMENT).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("graft_trainer.publishing"),
        autoescape=select_autoescape(enabled_extensions=("html.jinja",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": figure, "code": code}
    return environment


def figure(value: float | None) -> str:
    """Write a number with four digits that count, and a dash for none."""
    return "–" if value is None else f"{value:.4g}"


def code(text: object) -> str:
    """Write a text as code in Markdown, which it cannot break out of."""
    plain = " ".join(str(text).replace("`", "'").replace("|", "¦").split())
    return f"`{plain}`"
