"""The Kubernetes API as a pod reaches it, with the token and the certificate that Kubernetes puts into the pod."""

import os
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MOST_DOUBLINGS = 10
"""Far beyond the longest pause; without a bound the power would one day be too large for a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """How to reach the Kubernetes API. The token is read anew for every request, because it rotates."""

    url: str
    token_file: Path
    ca_file: Path | None

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """What Kubernetes puts into every pod.

        Raises:
            KeyError: not in a pod: `KUBERNETES_SERVICE_HOST` or `KUBERNETES_SERVICE_PORT` is missing.
        """
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        return cls(
            url=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            token_file=SERVICE_ACCOUNT / "token",
            ca_file=SERVICE_ACCOUNT / "ca.crt",
        )

    def session(self, *, read_bufsize: int = 64 * 1024) -> aiohttp.ClientSession:
        """A session that trusts the cluster's certificate alone."""
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
        return aiohttp.ClientSession(connector=connector, read_bufsize=read_bufsize)

    def headers(self, accept: str = "application/json") -> dict[str, str]:
        """The headers of one request.

        Raises:
            OSError: the token can't be read.
        """
        return {"Authorization": f"Bearer {self.token_file.read_text().strip()}", "Accept": accept}


def pause_after(failures: int) -> float:
    """How long to leave the API alone after so many failures in a row."""
    longest: float = min(SHORTEST_PAUSE_SECONDS * 2 ** min(failures, MOST_DOUBLINGS), LONGEST_PAUSE_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing
