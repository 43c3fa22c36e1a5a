"""How a registry wants to be asked: the challenge of its first answer, and the token that it leads to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from graft_registry.errors import Forbidden, InvalidArtifact
from graft_registry.oci.answers import parsed_object
from graft_registry.oci.docker_config import Login

_PARAMETER: Final = re.compile(r'([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME: Final = re.compile(r"(?:^|,\s*)(Bearer|Basic)(?=\s|,|$)", re.IGNORECASE)

Fetch = Callable[[str, str, Mapping[str, str], bytes | None], bytes]
"""Asks ``(method, url, headers, body)`` and returns the body of a success; raises RegistryError."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a registry offers: ``bearer`` or ``basic``."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> tuple[Challenge, ...]:
    """Read ``WWW-Authenticate``, which may offer several ways in one header. Pure."""
    schemes = list(_SCHEME.finditer(header))
    found = []
    for number, match in enumerate(schemes):
        end = schemes[number + 1].start() if number + 1 < len(schemes) else len(header)
        found.append(Challenge(match.group(1).lower(), _parameters(header[match.end() : end])))
    return tuple(found)


def _parameters(text: str) -> dict[str, str]:
    found = _PARAMETER.finditer(text)
    return {
        match.group(1).lower(): re.sub(r"\\(.)", r"\1", match.group(2) or "") or match.group(3) or "" for match in found
    }


def authorize(header: str, login: Login | None, *, scope: str, insecure: bool, fetch: Fetch) -> str | None:
    """Return the ``Authorization`` that answers a challenge, None where there is nothing to answer with.

    Args:
        header: ``WWW-Authenticate`` of the registry's answer.
        login: for the registry, if there is one.
        scope: what is to be done, such as ``repository:team/adapter:pull``; the registry's own word, if any, counts for
            reading.
        insecure: whether the registry itself is asked without TLS.
        fetch: see ``Fetch``.

    Raises:
        Forbidden: the token's service would be asked without TLS, or gives no token.
        InvalidArtifact: its address is no URL.
        RegistryError: as it answers.
    """
    if login is not None and login.registry_token:
        return f"Bearer {login.registry_token}"
    offered = {challenge.scheme: challenge for challenge in reversed(challenges(header))}
    if "bearer" in offered:
        return _bearer(offered["bearer"], login, scope=scope, insecure=insecure, fetch=fetch)
    return login.basic if "basic" in offered and login is not None and login.username else None


def _parsed(realm: str) -> SplitResult:
    try:
        parts = urlsplit(realm)
        _ = parts.port  # Which is only read when it is asked for.
    except ValueError as error:
        raise InvalidArtifact(f"the registry sends for a token to {realm!r}, which is no URL: {error}") from error
    return parts


def _bearer(challenge: Challenge, login: Login | None, *, scope: str, insecure: bool, fetch: Fetch) -> str:
    realm = challenge.parameters.get("realm", "")
    parts = _parsed(realm)
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise Forbidden(f"the registry sends for a token to {realm!r}, which is not HTTPS; no login is sent there")
    query = {"service": challenge.parameters.get("service", ""), "scope": scope}
    headers: dict[str, str] = {}
    if login is not None and login.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": "graft", **query}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = fetch("POST", realm, headers, urlencode(form).encode())
    else:
        if login is not None:
            headers["Authorization"] = login.basic
        joiner = "&" if parts.query else "?"
        body = fetch("GET", realm + joiner + urlencode({k: v for k, v in query.items() if v}), headers, None)
    answer = parsed_object(body, what=realm)
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise Forbidden(f"{realm} gave no token")
    return f"Bearer {token}"
