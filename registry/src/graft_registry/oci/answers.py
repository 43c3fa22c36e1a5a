"""What a registry's answers mean. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from graft_registry.errors import Forbidden, InvalidArtifact, NotFound, RegistryError, Unavailable
from graft_registry.oci.docker_config import HOW_TO_KEEP_ONE, PLACES

_MESSAGE_CHARACTERS: Final = 300


def registry_error(
    status: int, body: bytes, *, what: str, had_login: bool, writing: bool = False, helper: str | None = None
) -> RegistryError:
    """Translate an answer that is no success into the error that callers can act on.

    Args:
        status: of the answer.
        body: its beginning.
        what: was asked for, for the message.
        had_login: whether credentials were sent.
        writing: whether something was to be written.
        helper: which program would have had the login, by whose word; see ``docker_config``.
    """
    told = _said(body)
    said = f"{what}: {told} (HTTP {status})" if told else f"{what}: HTTP {status}"
    if status in (401, 403):
        return Forbidden(f"{said}; {_advice(had_login=had_login, writing=writing, helper=helper)}")
    if status in (404, 410):
        return NotFound(f"{said}; is there such a repository, and such a tag or digest in it?")
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(said)
    if status in (400, 405, 406, 413, 415):
        return InvalidArtifact(f"{said}: the registry does not take this")
    return RegistryError(said)


def _advice(*, had_login: bool, writing: bool, helper: str | None) -> str:
    right = "push" if writing else "pull"
    if had_login:
        return f"the login may not {right} here, has expired, or there is no such repository"
    if helper is not None:
        why = f"{helper}, and no such program is run"
        return f"the login was not found: {why}; give one that may {right}: {HOW_TO_KEEP_ONE}"
    return f"no login for this registry was found; give one that may {right}: {PLACES}. Or there is no such repository"


def _said(body: bytes) -> str:
    """Return the first error of a registry's answer in one line, nothing for bodies of another kind."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else answer
    parts = [str(first[key]) for key in ("code", "message", "details") if isinstance(first.get(key), str)]
    return " ".join(": ".join(parts).split())[:_MESSAGE_CHARACTERS]


def parsed_object(body: bytes, *, what: str) -> Mapping[str, Any]:
    """Parse an answer that must be a JSON object.

    Raises:
        InvalidArtifact: it is something else, as that of a login page in front of the registry.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArtifact(f"{what}: the answer is not JSON, so it is not that of an OCI registry") from error
    if not isinstance(document, dict):
        raise InvalidArtifact(f"{what}: the answer is not a JSON object, so it is not that of an OCI registry")
    return document
