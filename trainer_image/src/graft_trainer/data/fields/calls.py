"""The functions that rows declare, and the calls of them: whatever their form, that in which servers give them to
chat templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.data.fields.texts import from_json_text, to_json_text

SCHEMAS: Final = ("parameters", "input_schema", "inputSchema")
"""What a function's parameters are declared under: by OpenAI's API, Anthropic's, and MCP."""


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
    declared = [_declared(_without_padding(tool), f"{where}[{number}]") for number, tool in enumerate(tools)]
    return to_json_text(declared, where)


def _without_padding(value: Any) -> Any:
    """Leave out nulls, with which tables pad what some rows declare and others don't; only a default may be null."""
    if isinstance(value, Mapping):
        return {key: _without_padding(item) for key, item in value.items() if item is not None or key == "default"}
    return [_without_padding(item) for item in value] if isinstance(value, list) else value


def _declared(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return a declared function in its envelope; what is none, such as a search of the server's own, as it is."""
    if "function" in tool:
        return {"type": "function", **tool, "function": _function(tool["function"], f"{where}.function")}
    if "name" not in tool:
        return tool
    bare = {key: value for key, value in tool.items() if key != "type"}
    return {"type": "function", "function": _function(bare, where)}


def _function(given: Any, where: str) -> Mapping[str, Any]:
    """Return a function with the schema of its parameters as an object under the name that servers take.

    Tables hold either as JSON text, since no two schemas have the same fields; Anthropic's API and MCP have names of
    their own for the schema.
    """
    function = _without_padding(from_json_text(given, where))
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be an object with a name")
    name = next((name for name in SCHEMAS if name in function), None)
    if name is None:
        return function
    schema = from_json_text(function[name] or {}, f"{where}.{name}")
    if not isinstance(schema, Mapping):
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where}.{name} must be an object, the JSON schema of the parameters"
        )
    return {"parameters" if key == name else key: schema if key == name else value for key, value in function.items()}


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
