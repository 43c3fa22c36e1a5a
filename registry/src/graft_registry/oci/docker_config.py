"""Credentials for registries, in the form that docker, podman and Kubernetes keep them: ``config.json`` with ``auths``.

A Secret of type ``kubernetes.io/dockerconfigjson`` is such a file, under the name ``.dockerconfigjson``; one of type
``kubernetes.io/dockercfg`` holds what is below ``auths`` alone.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from graft_registry.errors import Forbidden
from graft_registry.sources.source_access import PREFIX

_FILES: Final = ("config.json", ".dockerconfigjson", ".dockercfg")
_INLINE: Final = ("DOCKER_AUTH_CONFIG", ".dockerconfigjson")
"""Variables that hold the JSON itself: GitLab's name, and what ``envFrom`` makes of a Secret where it may."""
_HUB: Final = "registry-1.docker.io"
_HUB_PLACES: Final = frozenset({_HUB, "index.docker.io", "docker.io"})
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
PLACES: Final = (
    "config.json in the folder of DOCKER_CONFIG, the file of REGISTRY_AUTH_FILE, or the JSON itself in "
    "DOCKER_AUTH_CONFIG; credential helpers are not run"
)
"""Where people put credentials, for messages."""
HOW_TO_KEEP_ONE: Final = "kubectl create secret docker-registry makes a Secret with a login"


@dataclass(frozen=True, slots=True)
class Login:
    """What to show a registry: user and password, a refresh token, or a bearer token that is used as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()


def find_login(host: str, repository: str, environ: Mapping[str, str]) -> Login | None:
    """Return the login for a repository, None for a registry that nobody has credentials for.

    Variables with the prefix ``SOURCE_`` win over those without; the closest entry of a file wins over its others.

    Raises:
        Forbidden: there are credentials, and they can't be read.
    """
    for where, config in _configs(environ):
        login = _login_in(config, host, repository, where)
        if login is not None:
            return login
    return None


def helper_for(host: str, environ: Mapping[str, str]) -> str | None:
    """Return the place and the name of a program that keeps the login of a registry, where a configuration names one.

    No such program is run: none is in our images, and a configuration from elsewhere may name any.

    Raises:
        Forbidden: as ``find_login``.
    """
    for where, config in _configs(environ):
        by_host, auths = config.get("credHelpers"), config.get("auths")
        places = {_place(key): name for key, name in by_host.items()} if isinstance(by_host, dict) else {}
        known = {_place(key) for key in auths} if isinstance(auths, dict) else set()
        names = _HUB_PLACES if host == _HUB else {host}
        helper = next((places[name] for name in names if name in places), None)
        if helper is None and known & names:
            helper = config.get("credsStore")
        if isinstance(helper, str) and _HELPER.fullmatch(helper):
            return f"{where} leaves it to docker-credential-{helper}"
    return None


def _configs(environ: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for prefix in (PREFIX, ""):
        for name in _INLINE:
            if text := environ.get(prefix + name):
                yield prefix + name, _parsed(text, prefix + name)
        if folder := environ.get(f"{prefix}DOCKER_CONFIG"):
            if prefix and not any((Path(folder) / name).exists() for name in _FILES):
                raise Forbidden(f"the source's Secret has none of the keys {', '.join(_FILES)}; {HOW_TO_KEEP_ONE}")
            yield from _read(Path(folder) / name for name in _FILES)
        if file := environ.get(f"{prefix}REGISTRY_AUTH_FILE"):
            yield from _read([Path(file)])
    if "DOCKER_CONFIG" not in environ and (home := environ.get("HOME")):
        yield from _read([Path(home) / ".docker" / "config.json"])


def _read(files: Iterable[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Forbidden(f"{path}: the registry's credentials can't be read: {error}") from error
        yield str(path), _parsed(text, str(path))


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        # The text itself is never repeated: it is a secret.
        raise Forbidden(f"{where}: the registry's credentials are not JSON such as docker login writes") from error
    if not isinstance(config, dict):
        raise Forbidden(f'{where}: the registry\'s credentials must be an object with "auths"')
    # The form of Secrets from before 2015 (kubernetes.io/dockercfg) is that of "auths" alone.
    return config if "auths" in config or not _looks_like_auths(config) else {"auths": config}


def _looks_like_auths(config: Mapping[str, Any]) -> bool:
    return bool(config) and all(isinstance(item, dict) and "auth" in item for item in config.values())


def _login_in(config: Mapping[str, Any], host: str, repository: str, where: str) -> Login | None:
    auths = config.get("auths") or {}
    if not isinstance(auths, dict):
        raise Forbidden(f'{where}: "auths" must be an object')
    by_place = {_place(key): entry for key, entry in auths.items() if isinstance(entry, dict)}
    hubs = _HUB_PLACES if host == _HUB else ()
    for place in (*_closest_first(host, repository), *sorted(hubs, reverse=True)):
        entry = by_place.get(place)
        if entry and (login := _login_of(entry, place, where)) is not None:
            return login
    return None


def _place(key: str) -> str:
    """Return ``host`` or ``host/path`` of a key, which may be a URL of the registry's first API."""
    place = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return place.removesuffix("/v1").removesuffix("/v2")


def _closest_first(host: str, repository: str) -> Iterator[str]:
    segments = repository.split("/")
    for count in range(len(segments), 0, -1):
        yield f"{host}/{'/'.join(segments[:count])}"
    yield host


def _login_of(entry: Mapping[str, Any], place: str, where: str) -> Login | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            username, colon, password = b64decode(str(auth), validate=False).decode().strip("\0\n").partition(":")
        except ValueError as error:
            raise Forbidden(f"{where}: auth of {place} is not base64 of user:password") from error
        if not colon:
            raise Forbidden(f"{where}: auth of {place} is not base64 of user:password")
    login = Login(username, password, str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or ""))
    return login if login != Login() else None
