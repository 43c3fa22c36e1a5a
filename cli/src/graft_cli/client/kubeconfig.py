"""The kubeconfig as kubectl reads it: which files, which context, and which proxy on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from graft_cli.errors import did_you_mean

VARIABLE: Final = "KUBECONFIG"
DEFAULT: Final = "~/.kube/config"
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet puts the token of a pod's ServiceAccount, its namespace and the API server's certificate."""


class InvalidKubeconfig(Exception):
    """No cluster can be taken from the files."""


class NoKubeconfig(InvalidKubeconfig):
    """None of the files is there."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """What several files say in one: of each name the first one counts, as of the current context."""

    files: tuple[str, ...]
    contexts: Mapping[str, Mapping[str, Any]]
    clusters: Mapping[str, Mapping[str, Any]]
    current: str

    def context(self, chosen: str | None) -> str:
        """Return the name of the chosen context, or of the current one. Raises InvalidKubeconfig for one of nobody."""
        name = chosen or self.current
        if not name:
            raise InvalidKubeconfig(f"no context is chosen, and these are there: {', '.join(self.contexts) or 'none'}")
        if name not in self.contexts:
            near = did_you_mean(name, self.contexts)
            raise InvalidKubeconfig(f"there is no context {name}{near and f'; {near}'}")
        return name


def read_kubeconfig(option: str | None, environ: Mapping[str, str]) -> Kubeconfig:
    """Read the files that kubectl would. Raises InvalidKubeconfig, OSError, yaml.YAMLError, ValueError.

    Where none is there, and none was asked for, that is NoKubeconfig.
    """
    several = [name for name in environ.get(VARIABLE, "").split(os.pathsep) if name]
    paths = [Path(name).expanduser() for name in ([option] if option else several or [DEFAULT])]
    there = [path for path in paths if option or path.exists()]  # kubectl passes over those that are not
    documents = {str(path): yaml.safe_load(path.read_text(encoding="utf-8")) for path in there}
    found = {path: document for path, document in documents.items() if document is not None}
    if not found:
        raise InvalidKubeconfig("it is empty") if documents else NoKubeconfig("there is no such file")
    for path, document in found.items():
        if not isinstance(document, Mapping):
            raise InvalidKubeconfig(f"{path} is no kubeconfig")
    every = tuple(found.values())
    current = next((str(document["current-context"]) for document in every if document.get("current-context")), "")
    return Kubeconfig(tuple(found), _named(every, "context"), _named(every, "cluster"), current)


def proxy_of(cluster: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return the proxy on the way to a cluster: its own, or that of the environment, never to this machine itself."""
    if own := cluster.get("proxy-url"):
        return str(own)
    server = urlsplit(str(cluster.get("server") or ""))
    if _is_this_machine(server.hostname or ""):
        return None
    name = f"{server.scheme}_proxy"
    return environ.get(name.upper()) or environ.get(name) or None


def is_in_pod(environ: Mapping[str, str], account: Path) -> bool:
    """Whether this is a pod that may ask its own cluster, as its ServiceAccount."""
    return "KUBERNETES_SERVICE_HOST" in environ and (account / "token").is_file()


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _named(documents: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for item in document.get(f"{kind}s") or ():
            if isinstance(item, Mapping) and item.get("name"):
                found.setdefault(str(item["name"]), item.get(kind) or {})
    return found
