"""Errors in the shape that the clients of OpenAI and of Anthropic understand."""

from collections.abc import Mapping

from aiohttp import web

_CLIENT_ERROR, _SERVER_ERROR = "invalid_request_error", "server_error"


def error_response(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error answer.

    Args:
        status: HTTP status.
        code: machine-readable cause, e.g. `model_not_found`.
        message: what is wrong and how to fix it.
        headers: further headers.
    """
    kind = _CLIENT_ERROR if status < 500 else _SERVER_ERROR
    error = {"message": message, "type": kind, "param": None, "code": code}
    # Anthropic's clients look for the outer type.
    return web.json_response({"type": "error", "error": error}, status=status, headers=headers)
