"""The wanted set from a ConfigMap, watched through the Kubernetes API with the pod's own service account.

Needs `get`, `list` and `watch` on that one ConfigMap by name. While the API is away the last set stays in force.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp

from graft_serving.cluster_api import ApiAccess, pause_after

logger = logging.getLogger(__name__)

KEY = "wanted.json"
WATCH_SECONDS = 60
"""The server ends each watch after this time; a connection that died silently is noticed soon after it."""
LIST_SECONDS = 15.0
PAUSE_BETWEEN_WATCHES_SECONDS = 0.1
"""No event is lost in it: a watch goes on from the last version that was seen."""
LONGEST_EVENT_BYTES = 8 * 1024 * 1024
"""A ConfigMap holds at most 1 MiB; in an event it is escaped JSON within JSON, with managed fields."""


_ODD: Final = (ValueError, LookupError, TypeError, AttributeError)
"""What reading an answer raises that has another shape, as whatever stands between pod and API server may send."""


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
        failures = 0
        async with self._access.session(read_bufsize=LONGEST_EVENT_BYTES) as session:
            while True:
                try:
                    async for content in self._list_and_watch(session):
                        failures = 0
                        yield content
                except _ExpiredError:
                    logger.info("watch of configmap %s has expired, listing again", self._name)
                except (aiohttp.ClientError, TimeoutError, OSError, *_ODD) as error:
                    failures += 1
                    logger.warning("watching configmap %s failed, trying again: %r", self._name, error)
                await asyncio.sleep(pause_after(failures))

    async def _list_and_watch(self, session: aiohttp.ClientSession) -> AsyncIterator[bytes]:
        async with session.get(
            self._url,
            params=self._parameters(),
            headers=self._access.headers(),
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
            headers=self._access.headers(),
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


def _content(configmap: Mapping[str, Any]) -> bytes | None:
    text = configmap.get("data", {}).get(KEY)
    return text.encode() if isinstance(text, str) else None
