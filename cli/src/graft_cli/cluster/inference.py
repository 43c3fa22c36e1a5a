"""Inference requests, sent to serving pods through forwarded ports, or to an endpoint that the person names."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from graft_cli.client.connection import Connection, root_cause
from graft_cli.cluster.port_forward import forwarded
from graft_cli.cluster.workloads import Pod
from graft_cli.decisions.conversation import NO_VERSION, VERSION_HEADER, Reply, is_elsewhere
from graft_cli.errors import GraftError, NotFound, Unreachable

API_PORT: Final = 8000
MOST_PODS: Final = 6
"""Pods to try for one answer. A pod forwards what it can't answer itself, so few tries are enough."""
MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceClient(ABC):
    """Sends requests to something that serves a base and its adapters."""

    key: str | None = None
    """An API key of the base."""
    seconds: float = 120.0
    """How long to wait for the next byte of an answer."""

    @abstractmethod
    def ask(self, path: str, body: bytes) -> Reply:
        """Return what comes back. Raises NotFound, Forbidden, Unreachable, GraftError."""

    def _send(self, way: HTTPConnection, path: str, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        began = time.monotonic()
        try:
            way.request("POST", path, body, headers)
            response = way.getresponse()
            content = response.read(MOST_BYTES + 1)
        except TimeoutError as error:
            fix = "give more --timeout or fewer --max-tokens"
            raise Unreachable(f"no answer within {self.seconds:g} s", fix=fix) from error
        except OSError:
            raise  # the caller, who has made the connection, can say more
        except HTTPException as error:
            raise Unreachable(f"the connection broke off: {root_cause(error)}", fix="try again") from error
        if len(content) > MOST_BYTES:
            raise GraftError(f"the answer has more than {MOST_BYTES} bytes", fix="give fewer --max-tokens")
        version = response.headers.get(VERSION_HEADER, NO_VERSION)
        return Reply(status=response.status, version=version, body=content, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsClient(InferenceClient):
    """Tries serving pods one after the other, until one of them has the model."""

    connection: Connection
    pods: Sequence[Pod]

    def ask(self, path: str, body: bytes) -> Reply:
        """Return the first answer, or else what the first pod said."""
        first: Reply | None = None
        problem: GraftError | None = None
        for pod in self.pods[:MOST_PODS]:
            try:
                with forwarded(self.connection, pod, API_PORT, seconds=self.seconds) as way:
                    reply = self._send(way, path, body)
            except (Unreachable, NotFound) as error:  # it may have gone since it was listed
                problem = problem or error
                continue
            if not is_elsewhere(reply):
                return reply
            first = first or reply
        if first is None:
            raise problem or Unreachable("no pod can be asked")
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointClient(InferenceClient):
    """Asks one URL: of a base's Service, or of a Gateway in front of it."""

    url: str

    def ask(self, path: str, body: bytes) -> Reply:
        """Return what comes back."""
        where = urlsplit(self.url)
        kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
        try:
            with closing(kind(where.hostname or "", where.port, timeout=self.seconds)) as way:
                return self._send(way, where.path.rstrip("/") + path, body)
        except (OSError, UnicodeError) as error:  # the latter for a name that no server can have
            fix = "is --endpoint an address that this machine reaches?"
            raise Unreachable(f"can't ask {self.url}: {root_cause(error)}", fix=fix) from error
