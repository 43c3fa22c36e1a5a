"""What may go wrong with an API request. Nothing above `cluster` sees the client's own exceptions."""

import json
from typing import Any, Final

from graft_operator.controller_runtime.controller import TransientError

TOO_LARGE: Final = "(too large)"
"""Ends the message of an error about an answer that was not read; other messages end with the HTTP status."""


class ClusterError(Exception):
    """An API request failed. The message names the request and the server's reason."""


class NotFound(ClusterError):
    """404: the object, its namespace or its kind does not exist."""


class Conflict(ClusterError, TransientError):
    """409: the object changed since it was read, or a precondition (resourceVersion, uid) does not hold."""


class AlreadyExists(ClusterError):
    """409 on a create: there is an object of this name."""


class Invalid(ClusterError):
    """400 or 422: the server refuses the object. A retry cannot help until the object changes."""


class Forbidden(ClusterError):
    """403: not permitted, or refused by admission or by a quota."""


class NamespaceTerminating(Forbidden, TransientError):
    """403: the namespace is on its way out, and our object with it. Passes by itself."""


class Unavailable(ClusterError, TransientError):
    """No answer, 401 (a token is rotating), 408, 429 or 5xx. May pass by itself."""


class Gone(Unavailable):
    """410: a list went stale half-way, or a watch is to go on from a version that is too old. Begin anew."""


class TooLarge(ClusterError):
    """An answer, or an event of a watch, has more bytes than are read of one. A smaller page may be asked for."""


def error_from_response(request: str, status: int, body: str | None) -> ClusterError:
    """Return the error for an unsuccessful answer to `request`, a text such as "GET /api/v1/pods"."""
    answer = _status_object(body)
    message = f"{request}: {answer.get('message') or body or 'no message'} ({status})"
    match status, answer.get("reason"):
        case 404, _:
            return NotFound(message)
        case 409, "AlreadyExists":
            return AlreadyExists(message)
        case 409, _:
            return Conflict(message)
        case ((400 | 422), _):
            return Invalid(message)
        case 403, _ if _has_cause(answer, "NamespaceTerminating"):
            return NamespaceTerminating(message)
        case 403, _:
            return Forbidden(message)
        case 410, _:
            return Gone(message)
        case _ if status in (401, 408, 429) or status >= 500:
            return Unavailable(message)
        case _:
            return ClusterError(message)


def is_failed_test(status: int, body: str | None) -> bool:
    """Tell whether a 422 to a JSON patch means that a `test` operation did not hold.

    The server answers both a failed test and an invalid object with 422/Invalid, but lists causes only for the
    latter (apiserver `jsonPatcher.applyJSPatch` against `NewInvalid`).
    """
    return status == 422 and not (_status_object(body).get("details") or {}).get("causes")


def _has_cause(answer: dict[str, Any], reason: str) -> bool:
    causes = (answer.get("details") or {}).get("causes") or []
    return any(cause.get("reason") == reason for cause in causes)


def _status_object(body: str | None) -> dict[str, Any]:
    """Parse a `v1/Status`. Proxies answer with anything, so everything else counts as no information."""
    try:
        answer = json.loads(body or "")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
