"""The wanted set from a ConfigMap, watched through the Kubernetes API with the pod's own service account.

Needs `get`, `list` and `watch` on that one ConfigMap by name. While the API is away the last set stays in force.
"""

import asyncio
import json
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KEY = "wanted.json"
WATCH_SECONDS = 60
"""The server ends each watch after this time; a connection that died silently is noticed soon after it."""
LIST_SECONDS = 15.0
PAUSE_BETWEEN_WATCHES_SECONDS = 0.1
"""No event is lost in it: a watch goes on from the last version that was seen."""
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MOST_DOUBLINGS = 10
"""Far beyond the longest pause; without a bound the power would one day be too large for a float."""
LONGEST_EVENT_BYTES = 8 * 1024 * 1024
"""A ConfigMap holds at most 1 MiB; in an event it is escaped JSON within JSON, with managed fields."""


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


class _ExpiredError(Exception):
    """The API has forgotten the resource version that the watch would go on from."""


class ConfigMapWatch:
    """Follows one ConfigMap by list and watch."""

    def __init__(self, access: ApiAccess, *, namespace: str, name: str) -> None:
        """Follow the ConfigMap `namespace`/`name`."""
        self._access = access
        self._url = f"{access.url}/api/v1/namespaces/{namespace}/configmaps"
        self._name = name

    async def wanted_sets(self) -> AsyncIterator[bytes]:
        """Yield `wanted.json` as it is and at every change, for ever. A missing ConfigMap changes nothing."""
        context = ssl.create_default_context(cafile=self._access.ca_file) if self._access.ca_file else None
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
        failures = 0
        async with aiohttp.ClientSession(connector=connector, read_bufsize=LONGEST_EVENT_BYTES) as session:
            while True:
                try:
                    async for content in self._list_and_watch(session):
                        failures = 0
                        yield content
                except _ExpiredError:
                    logger.info("watch of configmap %s has expired, listing again", self._name)
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
                    failures += 1
                    logger.warning("watching configmap %s failed, trying again: %r", self._name, error)
                await asyncio.sleep(_pause(failures))

    async def _list_and_watch(self, session: aiohttp.ClientSession) -> AsyncIterator[bytes]:
        async with session.get(
            self._url,
            params=self._parameters(),
            headers=self._headers(),
            timeout=aiohttp.ClientTimeout(total=LIST_SECONDS),
            raise_for_status=True,
        ) as response:
            listed = await response.json()
        version = listed["metadata"]["resourceVersion"]
        for item in listed["items"]:
            if (content := _content(item)) is not None:
                yield content
        while True:
            async for event in self._watch(session, version):
                version = event["object"]["metadata"]["resourceVersion"]
                changed = event["type"] in ("ADDED", "MODIFIED")
                if changed and (content := _content(event["object"])) is not None:
                    yield content
            await asyncio.sleep(PAUSE_BETWEEN_WATCHES_SECONDS)

    async def _watch(self, session: aiohttp.ClientSession, version: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the events after `version` until the server ends the watch."""
        parameters = {
            **self._parameters(),
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with session.get(
            self._url,
            params=parameters,
            headers=self._headers(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=LIST_SECONDS, sock_read=WATCH_SECONDS + 15),
        ) as response:
            if response.status == 410:
                raise _ExpiredError
            response.raise_for_status()
            while line := await response.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise _ExpiredError
                    raise ValueError(f"the API ended the watch: {event['object'].get('message')}")
                yield event

    def _parameters(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={self._name}"}

    def _headers(self) -> dict[str, str]:
        token = self._access.token_file.read_text().strip()
        return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _content(configmap: Mapping[str, Any]) -> bytes | None:
    text = configmap.get("data", {}).get(KEY)
    return text.encode() if isinstance(text, str) else None


def _pause(failures: int) -> float:
    longest: float = min(SHORTEST_PAUSE_SECONDS * 2 ** min(failures, MOST_DOUBLINGS), LONGEST_PAUSE_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing
