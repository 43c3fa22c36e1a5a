"""Every field of a CustomResourceDefinition, as a page: a table for each object within it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from graft_docs.markdown import code, page, table

Schema = Mapping[str, Any]

BOUNDS: Final = (("minItems", "maxItems", "items"), ("minProperties", "maxProperties", "entries"))


def fields_page(crd: Mapping[str, Any]) -> str:
    """Return the page of one kind, from its CustomResourceDefinition."""
    kind, version = crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    names = crd["spec"]["names"]
    short = ", ".join(code(name) for name in names.get("shortNames", ()))
    introduction = (
        f"{root['description']}\n\nIts `apiVersion` is `{crd['spec']['group']}/{version['name']}`, and kubectl knows it"
        f" as `{names['plural']}`{f' ({short})' if short else ''}."
        f" `kubectl explain {names['singular']}.spec` shows the same."
    )
    parts = [
        section(path, node)
        for top in ("spec", "status")
        for path, node in objects(root["properties"][top], top)
        if node.get("properties")
    ]
    status = "`status` is written by the operator alone, and `spec` never is."
    return page(
        f"Fields of {kind}",
        introduction,
        status,
        columns(version["additionalPrinterColumns"]),
        *parts,
        description=f"Every field of {kind}: type, bounds, default, meaning and rules, generated from the CRD.",
    )


def objects(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield every object below a node with its path, parents first; ``[]`` stands for each entry of a list."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        inner, inner_path = child, f"{path}.{name}"
        if "items" in inner:
            inner, inner_path = inner["items"], f"{inner_path}[]"
        if inner.get("properties"):
            yield from objects(inner, inner_path)


def section(path: str, node: Schema) -> str:
    """Return the heading of one object, its meaning, its fields and its rules."""
    required = set(node.get("required", ()))
    rows = [
        (code(name), type_of(child), default_of(child, is_required=name in required), text_of(child))
        for name, child in node["properties"].items()
    ]
    heading = "##" if "." not in path else "###"
    parts = [f"{heading} {path}", text_of(node), table(("field", "type", "default", "meaning"), rows), rules(node)]
    return "\n\n".join(part for part in parts if part)


def text_of(node: Schema) -> str:
    """Return the description of a node."""
    return " ".join(str(node.get("description", "")).split())


def type_of(node: Schema) -> str:
    """Return the type of a field with its bounds, in words."""
    if "enum" in node:
        return " or ".join(code(value) for value in node["enum"])
    kind = node.get("type", "any")
    if kind == "array":
        return f"list of {plural(node['items'])}{bounds(node)}"
    if kind == "object" and isinstance(node.get("additionalProperties"), Mapping):
        return f"map to {type_of(node['additionalProperties'])}{bounds(node)}"
    words = {"integer": "whole number", "boolean": "`true` or `false`", "string": "text"}
    return str(words.get(kind, kind)) + bounds(node)


def plural(node: Schema) -> str:
    """Return what a list holds."""
    return "objects" if node.get("type") == "object" else type_of(node)


def bounds(node: Schema) -> str:
    """Return the bounds of a number, a list or a map; those of texts are wide, and only a pattern is told."""
    told = []
    if "minimum" in node or "maximum" in node:
        low, high = node.get("minimum"), node.get("maximum")
        told.append(
            f"{low} to {high}" if None not in (low, high) else f"{low} or more" if high is None else f"up to {high}"
        )
    for least, most, what in BOUNDS:
        if least in node or most in node:
            low, high = node.get(least, 0), node.get(most)
            told.append(f"{low} to {high} {what}" if high is not None else f"{low} or more {what}")
    if "pattern" in node:
        told.append(f"matches `{node['pattern']}`")
    if "format" in node and node.get("type") == "string":
        told.append(node["format"])
    return f", {', '.join(told)}" if told else ""


def default_of(node: Schema, *, is_required: bool) -> str:
    """Return the default of a field, or that it has to be given."""
    if is_required:
        return "required"
    if "default" not in node or isinstance(node["default"], dict):
        return ""
    return code(json.dumps(node["default"], ensure_ascii=False))


def rules(node: Schema) -> str:
    """Return what the API server checks beyond types, in the words that it refuses with."""
    own = list(node.get("x-kubernetes-validations", ()))
    own += [rule for child in node["properties"].values() for rule in child.get("x-kubernetes-validations", ())]
    messages = dict.fromkeys(" ".join(rule["message"].split()) for rule in own if "message" in rule)
    return "Rules:\n\n" + "\n".join(f"* {message}" for message in messages) if messages else ""


def columns(printed: list[Mapping[str, Any]]) -> str:
    """Return what ``kubectl get`` shows of the kind."""
    rows = [
        (code(item["name"].upper()), code(item["jsonPath"]), "with `-o wide`" if item.get("priority") else "")
        for item in printed
    ]
    return "## Columns of kubectl get\n\n" + table(("column", "from", ""), rows)
