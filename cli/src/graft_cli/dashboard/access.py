"""Who may ask the server: nobody but the browser of the person who started it.

It reads with that person's rights, and every program and every user of the machine can reach its port. So each address
begins with a secret, which only the terminal and the browser know. And a page elsewhere that has its own name resolve
to 127.0.0.1 is told apart by the name that its requests are for.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

ADDRESS: Final = "127.0.0.1"
HOSTS: Final = frozenset({ADDRESS, "localhost", "::1"})
"""Names of this machine. The port is left open: it is another one behind `ssh -L`."""

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: nothing is kept, framed, guessed, or told to another page."""

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of our own page: its own files, and nothing from elsewhere."""

REPORT_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Of a report, which is as trustworthy as the rows of a training: no script, and no share in our origin."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets nothing."""

    status: int
    message: str


def new_token() -> str:
    """Return a secret that can't be guessed."""
    return secrets.token_urlsafe(32)


def refusal(token: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
    """Return why a request is refused; None where it is not. ``headers`` by their names in lower case."""
    host = headers.get("host", "")
    if host_name(host) not in HOSTS:
        return Refusal(421, "this server answers to 127.0.0.1 and localhost only")
    if is_of_another_page(headers):
        return Refusal(403, "another page has asked for this")
    given = path.removeprefix("/").partition("/")[0]
    if not hmac.compare_digest(given.encode(), token.encode()):
        return Refusal(403, "take the whole address that `kubectl graft dashboard` has printed")
    return None


def is_of_another_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another page embeds or fetches this. A link that leads here is a person's own."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document")


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port; nothing where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
