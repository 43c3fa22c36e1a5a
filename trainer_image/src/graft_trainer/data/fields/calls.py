"""The functions that rows declare, and the calls of them: whatever their form, that in which servers give them to
chat templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.texts import from_json_text, to_json_text


def parse_tools(tools: Any, where: str) -> str:
    """Return the declared functions of a row as JSON text, empty where there are none.

    Each gets the form in which servers hand it to a template: bare functions, as OpenAI's older files and many sets
    have them, are wrapped. The list, or each of it, may be JSON text.
    """
    tools = from_json_text(tools, where) if tools else None
    if not tools:
        return ""
    given = enumerate(tools if isinstance(tools, list) else [tools])
    tools = [from_json_text(tool, f"{where}[{number}]") for number, tool in given]
    if not all(isinstance(tool, Mapping) and (tool.keys() & {"function", "name", "type"}) for tool in tools):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be a list of objects, each a function")
    return to_json_text([_declared(_without_padding(tool)) for tool in tools], where)


def _without_padding(value: Any) -> Any:
    """Leave out nulls, with which tables pad what some rows declare and others don't; only a default may be null."""
    if isinstance(value, Mapping):
        return {key: _without_padding(item) for key, item in value.items() if item is not None or key == "default"}
    return [_without_padding(item) for item in value] if isinstance(value, list) else value


def _declared(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(tool.get("function"), Mapping):
        return {"type": "function", **tool}
    if "name" not in tool:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def parse_calls(calls: Any, where: str) -> str:
    """Return calls as JSON text with their arguments as objects: what templates expect, and OpenAI writes as text.

    Raises UnusableRowError.
    """
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be a list of objects")
    return to_json_text([_call(call, f"{where}[{position}]") for position, call in enumerate(calls)], where)


def _call(call: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a call in the form that templates expect; some sets have it without its envelope."""
    if "function" not in call and "name" in call:
        call = {"type": "function", **{key: call[key] for key in ("id",) if key in call}, "function": call}
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UnusableRowError(DropReason.MALFORMED, f"{where}.function must be an object with a name")
    arguments = function.get("arguments", function.get("parameters"))
    # A call without arguments has none at all, an empty text, or null.
    arguments = (from_json_text(arguments, f"{where}.function.arguments") if arguments else None) or {}
    if not isinstance(arguments, Mapping):
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where}.function.arguments must be an object, or the JSON text of one"
        )
    return {**call, "function": {"name": function["name"], "arguments": arguments}}
