"""Errors in the shape that OpenAI clients understand."""

from collections.abc import Mapping

from aiohttp import web

_TYPES = {400: "invalid_request_error", 404: "invalid_request_error", 413: "invalid_request_error"}


def error_response(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error answer.

    Args:
        status: HTTP status.
        code: machine-readable cause, e.g. `model_not_found`.
        message: what is wrong and how to fix it.
        headers: further headers.
    """
    error = {"message": message, "type": _TYPES.get(status, "server_error"), "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
