"""Requests to one registry: TLS, proxies, retries, redirects, and the login that it asks for."""

import logging
import urllib.request
from collections.abc import Mapping
from typing import BinaryIO, Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from graft_registry.errors import InvalidArtifact, RegistryError, Unavailable
from graft_registry.oci.answers import registry_error
from graft_registry.oci.authorization import authorize
from graft_registry.oci.docker_config import find_login, helper_for
from graft_registry.oci.references import Reference

log = logging.getLogger(__name__)

PLAIN_HTTP_VARIABLE: Final = "GRAFT_OCI_PLAIN_HTTP"
"""Hosts, with their ports and separated by commas, that are asked without TLS. Those of this machine are anyway."""
DOCUMENT_BYTES: Final = 4 << 20
"""What the specification lets a manifest have at most."""
_PORTS: Final = {"http": 80, "https": 443}
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=60)
_RETRIES: Final = urllib3.Retry(
    total=4,
    redirect=5,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,  # Every request here may be repeated: what is written is named by its content.
    respect_retry_after_header=False,  # A registry may not choose how long a Job sleeps.
    raise_on_status=False,
)

Body = bytes | BinaryIO | None


class Connection:
    """One repository of a registry, with the rights to ``actions``: ``pull``, or ``pull,push``."""

    def __init__(self, reference: Reference, environ: Mapping[str, str], actions: str = "pull") -> None:
        plain = {host.strip() for host in environ.get(PLAIN_HTTP_VARIABLE, "").split(",")}
        self._insecure = reference.is_local or reference.host in plain
        self._root = f"{'http' if self._insecure else 'https'}://{reference.host}/v2/{reference.repository}/"
        self._login = find_login(reference.host, reference.repository, environ)
        self._helper = helper_for(reference.host, environ) if self._login is None else None
        self._scope = f"repository:{reference.repository}:{actions}"
        self._authorization: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        missing_is_fine: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer to a request, its body unread.

        Args:
            method: of the request.
            path: below the repository, or a URL that the registry has given.
            what: is asked for, for messages.
            headers: besides that of the login.
            body: a file is read from its beginning.
            missing_is_fine: whether 404 is an answer, too.

        Raises:
            RegistryError: it is no success.
        """
        try:
            url = without_downgrade(urljoin(self._root, path), self._root)
        except ValueError as error:
            raise InvalidArtifact(f"{what}: the registry gives {path!r}, which is no URL: {error}") from error
        answer = self._send(method, url, headers or {}, body, what)
        elsewhere = self._elsewhere(answer, url)
        if answer.status == 401 and elsewhere is None and self._has_authorized(answer, what):
            answer.drain_conn()
            answer = self._send(method, url, headers or {}, body, what)
            elsewhere = self._elsewhere(answer, url)
        if answer.status < 300 or (missing_is_fine and answer.status == 404):
            return answer
        beginning = read_at_most(answer, DOCUMENT_BYTES, what)
        if answer.status in (401, 403) and elsewhere is not None:
            raise _refused_elsewhere(elsewhere, answer.status, what)
        raise self._error(answer.status, beginning, what, writing=method in ("POST", "PUT"))

    def _elsewhere(self, answer: urllib3.BaseHTTPResponse, url: str) -> str | None:
        """Return where an answer comes from, if the registry has let us in and sent us on, as to a store of blobs."""
        asked = url
        for step in answer.retries.history if answer.retries else ():
            url = urljoin(url, step.redirect_location or "")
        is_registrys = _origin(url) == _origin(self._root) and urlsplit(url).path.startswith("/v2/")
        return None if url == asked or is_registrys else url

    def _error(self, status: int, body: bytes, what: str, *, writing: bool = False) -> RegistryError:
        had_login = self._login is not None
        return registry_error(status, body, what=what, had_login=had_login, writing=writing, helper=self._helper)

    def _has_authorized(self, answer: urllib3.BaseHTTPResponse, what: str) -> bool:
        """Get the authorization that an answer asks for. Tokens expire, so this may happen more than once."""
        before = self._authorization
        self._authorization = authorize(
            ", ".join(answer.headers.getlist("WWW-Authenticate")),
            self._login,
            scope=self._scope,
            insecure=self._insecure,
            fetch=lambda method, url, headers, body: self._fetch_token(method, url, headers, body, what),
        )
        return self._authorization not in (None, before)

    def _fetch_token(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, what: str) -> bytes:
        answer = _request(method, url, headers, body, what)
        content = read_at_most(answer, DOCUMENT_BYTES, what)
        if answer.status != 200:
            raise self._error(answer.status, content, what)
        return content

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, what: str
    ) -> urllib3.BaseHTTPResponse:
        own = _origin(url) == _origin(self._root)
        login = {"Authorization": self._authorization} if self._authorization and own else {}
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        return _request(method, url, {**headers, **login}, body, what)


def without_downgrade(url: str, root: str) -> str:
    """Return ``url`` with HTTPS where the registry at ``root`` has it, and names itself without. Pure.

    A registry behind a proxy that ends TLS often takes itself for one without. Other hosts are left as they are: they
    get no login.
    """
    asked, own = urlsplit(url), urlsplit(root)
    scheme, host, port = _origin(url)
    same_port = asked.port == own.port or (port == _PORTS["http"] and own.port is None)
    if (own.scheme, scheme) == ("https", "http") and host == own.hostname and same_port:
        return asked._replace(scheme="https", netloc=own.netloc).geturl()
    return url


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _request(method: str, url: str, headers: Mapping[str, str], body: Body, what: str) -> urllib3.BaseHTTPResponse:
    sent = {"User-Agent": "graft", "Accept-Encoding": "identity", **headers}
    pool = _pool(url, what)
    try:
        return pool.request(
            method, url, headers=sent, body=body, retries=_RETRIES, timeout=_TIMEOUT, preload_content=False
        )
    except ValueError as error:
        # Others than of addresses may hold a header, and with it a login.
        said = f" ({str(error).partition('?')[0]})" if isinstance(error, LocationValueError) else ""
        raise InvalidArtifact(f"{what}: the registry sends us to what is no URL{said}") from error
    except HTTPError as error:
        raise unavailable(error, what) from error


def _refused_elsewhere(url: str, status: int, what: str) -> Unavailable:
    """Return what it means that another place refuses to which the registry has sent us: no login helps there."""
    return Unavailable(
        f"{what}: {urlsplit(url).hostname}, to which the registry sends for it, refuses (HTTP {status}), which is not "
        "about the login: such addresses run out, so look at the clock; or something on the way, such as a proxy "
        "(HTTPS_PROXY, NO_PROXY), lets nobody there"
    )


def unavailable(error: HTTPError, what: str) -> Unavailable:
    """Return what a request that failed without an answer means."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, SSLError):
        hint = (
            "; set SSL_CERT_FILE to the certificates of the registry's authority, "
            f"or {PLAIN_HTTP_VARIABLE} to its host if it has no TLS"
        )
        return Unavailable(f"{what}: {reason}{hint}")
    return Unavailable(f"{what}: {reason}")


def _pool(url: str, what: str) -> urllib3.PoolManager:
    """Return a pool that goes through the proxy which the environment names for this URL, as curl would.

    Raises:
        Unavailable: the environment names something that is no such proxy.
    """
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    try:
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, HTTPError) as error:
        variable = f"{parts.scheme.upper()}_PROXY"
        raise Unavailable(f"{what}: {variable} names no proxy that speaks HTTP: correct it") from error


def read_at_most(answer: urllib3.BaseHTTPResponse, most: int, what: str) -> bytes:
    """Return an answer's body, and free its connection.

    Raises:
        InvalidArtifact: it is longer.
        Unavailable: it broke off.
    """
    try:
        content = b"".join(_pieces(answer, most))
    except HTTPError as error:
        raise unavailable(error, what) from error
    finally:
        answer.close()
    if len(content) > most:
        raise InvalidArtifact(f"{what}: the answer has more than {most} bytes")
    return content


def _pieces(answer: urllib3.BaseHTTPResponse, most: int) -> list[bytes]:
    pieces, size = [], 0
    for piece in answer.stream(1 << 16, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            break
    return pieces
