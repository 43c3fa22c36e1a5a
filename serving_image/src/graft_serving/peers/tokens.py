"""Whether a token says that its bearer is a pod of this base. Pure, but for the clock by which tokens expire."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jwt

PublicKeys = Mapping[str, jwt.PyJWK]
"""By the names that tokens call them by (`kid`)."""

LONGEST_TOKEN: Final = 8192
"""Characters. Those of Kubernetes have about a thousand; no header can be longer than this anyway."""
_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
"""With two keys, of which the API server shows one. A key says which it is for; a token has no say in it."""


class TokenRefusedError(ValueError):
    """The token proves nothing here; the message says why, and nothing of the token."""


class UnknownKeyError(TokenRefusedError):
    """It is signed by a key that the API server has not shown yet, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGroup:
    """The pods that send requests on to one another."""

    audience: str
    """Whom their tokens are for: these pods and nobody else, not even the Kubernetes API."""
    subject: str
    """Whose tokens they are: `system:serviceaccount:<namespace>:<name>`."""


def public_keys(document: bytes) -> PublicKeys:
    """Read the keys of a JWK set; those that tokens of ServiceAccounts can't be signed with are left out.

    Raises:
        ValueError: it is no JWK set, or no key in it can be used.
    """
    try:
        members = json.loads(document)
        found = jwt.PyJWKSet(members["keys"]).keys
    except (ValueError, RecursionError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise ValueError(f"not a JWK set with keys of ServiceAccounts: {error!r}") from error
    keys = {key.key_id: key for key in found if key.key_id is not None and key.algorithm_name in _ALGORITHMS}
    if not keys:
        raise ValueError("a JWK set without keys of ServiceAccounts")
    return keys


def verify(token: str, group: PeerGroup, keys: PublicKeys, *, leeway_seconds: float) -> float:
    """Return when the token ends, in seconds since the epoch, if it is of a pod of the group.

    Who has issued it is not looked at: whatever the API server's keys have signed, it has issued.

    Args:
        token: as it came.
        group: whose it must be.
        keys: of the API server.
        leeway_seconds: for which it may have expired, or not have begun.

    Raises:
        UnknownKeyError: it may be right, once newer keys are here.
        TokenRefusedError: it is wrong.
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise TokenRefusedError("no token of a ServiceAccount")
    try:
        name = jwt.get_unverified_header(token).get("kid")
        key = keys.get(name) if isinstance(name, str) else None
        if key is None:
            raise UnknownKeyError("signed by no key that the Kubernetes API shows")
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=group.audience,
            subject=group.subject,
            leeway=leeway_seconds,
            options={"require": ["exp", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        raise TokenRefusedError(str(error)) from error
    # What was made for others, too, may have been shown to them.
    if claims["aud"] not in (group.audience, [group.audience]):
        raise TokenRefusedError("for other audiences, too")
    return float(claims["exp"])
