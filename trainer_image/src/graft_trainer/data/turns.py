"""Reads the turns of a chat: roles, contents, and the calls of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from graft_trainer.data.conversation import Message
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError

ROLES = frozenset({"system", "user", "assistant", "tool"})


def parse_turns(
    turns: Any, key: str, *, role_key: str, content_key: str, roles: Mapping[str, str] | None = None
) -> list[Message]:
    """Read a list of turns, or its JSON text, which is what tables hold in a cell.

    ``roles`` maps the names of a format to ours. Raises UnusableRowError with the turn that is wrong.
    """
    turns = _from_json_text(turns, key)
    if not isinstance(turns, list) or not turns:
        raise UnusableRowError(DropReason.MALFORMED, f"{key} must be a list with at least one turn")
    messages = []
    for position, turn in enumerate(turns):
        where = f"{key}[{position}]"
        if not isinstance(turn, Mapping):
            raise UnusableRowError(DropReason.MALFORMED, f"{where} must be an object")
        role = turn.get(role_key)
        role = (roles or {}).get(role, role) if isinstance(role, str) else role
        if not isinstance(role, str) or role not in ROLES:
            raise UnusableRowError(
                DropReason.UNKNOWN_ROLE, f"{where}.{role_key} is {role!r}; expected one of {sorted(roles or ROLES)}"
            )
        messages.append(_message(role, turn, content_key, where))
    return messages


def parse_tools(tools: Any) -> str:
    """Return the declared functions of a row as JSON text, empty where there are none."""
    if not tools:
        return ""
    tools = _from_json_text(tools, "tools")
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise UnusableRowError(DropReason.MALFORMED, "tools must be a list of objects")
    return _to_json_text(tools, "tools")


def text_of(value: Any, where: str) -> str:
    """Return the value if it is a text that can be encoded; raises UnusableRowError."""
    if not isinstance(value, str):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UnusableRowError(
            DropReason.MALFORMED, f"{where} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
        ) from error
    return value


def _message(role: str, turn: Mapping[str, Any], content_key: str, where: str) -> Message:
    calls = _tool_calls(turn.get("tool_calls"), f"{where}.tool_calls")
    content = turn.get(content_key)
    if content is None and calls:
        content = ""
    return Message(
        role,
        _content(content, f"{where}.{content_key}"),
        tool_calls=calls,
        name=text_of(turn.get("name") or "", f"{where}.name"),
        tool_call_id=text_of(turn.get("tool_call_id") or "", f"{where}.tool_call_id"),
    )


def _content(content: Any, where: str) -> str:
    """Return a turn's text; OpenAI's list of parts is joined where all of them are text."""
    if isinstance(content, list) and content:
        parts = [part if isinstance(part, Mapping) else {} for part in content]
        if any(part.get("type") != "text" for part in parts):
            raise UnusableRowError(DropReason.MALFORMED, f"{where} has parts that are not text")
        return "".join(text_of(part.get("text"), where) for part in parts)
    return text_of(content, where)


def _tool_calls(calls: Any, where: str) -> str:
    """Return calls as JSON text with their arguments as objects: what templates expect, and OpenAI writes as text."""
    if not calls:
        return ""
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise UnusableRowError(DropReason.MALFORMED, f"{where} must be a list of objects")
    parsed = []
    for position, call in enumerate(calls):
        function = call.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UnusableRowError(DropReason.MALFORMED, f"{where}[{position}].function must be an object with a name")
        arguments = _from_json_text(function.get("arguments", {}), f"{where}[{position}].function.arguments")
        parsed.append({**call, "function": {**function, "arguments": arguments}})
    return _to_json_text(parsed, where)


def _from_json_text(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError(DropReason.MALFORMED, f"{where} is a string that is not JSON ({error})") from error


def _to_json_text(value: Any, where: str) -> str:
    return text_of(json.dumps(value, ensure_ascii=False), where)
