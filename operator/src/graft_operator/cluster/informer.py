"""Lists and watches one kind for the cache, for ever: what client-go calls a reflector.

Neither of the ready-made ones fits. The informer of the ``kubernetes`` package is for threads and keeps client models,
which drop fields that they don't know. Kopf's handlers tell of events only: what was deleted between two of its
listings is never told, one namespace that answers 403, or an API server that answers 503 for a minute, ends the whole
framework, and each event costs it a task and a queue. See docs/adr/0015.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import uniform
from typing import Any, Final

import msgspec

from graft_operator.cluster.cache import Cache, Name
from graft_operator.cluster.errors import ClusterError, Forbidden, Gone, NotFound, TooLarge
from graft_operator.cluster.resources import Resource
from graft_operator.cluster.transport import LARGEST_ANSWER, Decode, Transport
from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)

PAGE: Final = 250
"""Objects of one page of a listing: about 2 MiB of adapters, so that none is held whole."""
SMALLER: Final = 5
"""A page that is too large is asked for anew with so many times fewer objects."""
YIELD_EVERY: Final = 25
"""Objects that are taken in before others get the event loop: some 5 ms."""
WATCH_SECONDS: Final = 240
"""The server ends a watch after about this; the next one goes on from its last version."""
QUIET_SECONDS: Final = 90
"""Bookmarks come each minute: a watch that says nothing for longer is dead, whatever its connection looks like."""
RETRY: Final = Backoff(base_seconds=0.5, cap_seconds=10.0)
SHORTEST_SECONDS: Final = 1.0
"""Between the beginnings of two watches."""
OPTIONAL_SECONDS: Final = 60.0
MISSING_SECONDS: Final = 10.0
"""A kind that is not installed, or that we may not read, is asked for again after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A kind to watch, and which objects of it."""

    resource: Resource
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False
    """Whether only names and versions are of interest."""
    is_optional: bool = False
    """Whether the kind, or the right to read it, may be missing: nothing waits for it then."""
    older_versions: tuple[str, ...] = ()
    """Versions that servers may have instead of the resource's own. What is read of an object is alike in all."""
    has_bookmarks: bool = True
    """Whether the server says something each minute even if nothing happens. Of events it does not."""
    page: int = PAGE
    decode_page: Decode = msgspec.json.decode
    decode_event: Decode = msgspec.json.decode
    """For kinds whose objects are not to be decoded whole."""


class Informer:
    """Keeps the cache's part for one kind in one namespace, or in all of them (None), up to date."""

    def __init__(
        self,
        transport: Transport,
        cache: Cache,
        watched: Watched,
        namespace: str | None,
        *,
        relist_seconds: float = 600.0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._cache = cache
        self._watched = watched
        self._namespace = namespace
        self._relist_seconds = relist_seconds
        self._beat = beat
        """Called whenever the server has answered, or was found not to."""
        self._served = watched.resource
        """The kind in the version that the server has, as far as that is known."""
        self._version = ""
        self._told = ""

    async def run(self) -> None:
        """List, watch, and begin anew whenever that ends. Only a cancellation ends it."""
        failures = 0
        while True:
            try:
                await self._list_and_watch()
                failures = 0
            except Gone as error:
                self._fail(error)
                await asyncio.sleep(RETRY.delay(1))
            except (NotFound, Forbidden) as error:
                self._fail(error, is_closed=True)
                if isinstance(error, NotFound) and self._has_another_version():
                    continue
                await asyncio.sleep(_around(OPTIONAL_SECONDS if self._watched.is_optional else MISSING_SECONDS))
            except TooLarge as error:
                self._fail(error, is_closed=self._watched.is_optional)
                await asyncio.sleep(_around(OPTIONAL_SECONDS if self._watched.is_optional else MISSING_SECONDS))
            except ClusterError as error:
                failures += 1
                self._fail(error)
                await asyncio.sleep(RETRY.delay(failures))

    def _has_another_version(self) -> bool:
        """Turn to the next version of the kind; return whether it is one that was not tried since the newest."""
        versions = (self._watched.resource.version, *self._watched.older_versions)
        place = (versions.index(self._served.version) + 1) % len(versions)
        self._served = replace(self._served, version=versions[place])
        return place > 0

    async def _list_and_watch(self) -> None:
        """Watch from a fresh listing on, until it is time for another one."""
        self._version = await self._list()
        deadline = asyncio.get_running_loop().time() + _around(self._relist_seconds)
        failures = 0
        while (started := asyncio.get_running_loop().time()) < deadline:
            try:
                await self._watch(min(_around(WATCH_SECONDS), deadline - started))
                failures = 0
                # A server, or a proxy before it, that ends each watch at once is not asked faster than this.
                await asyncio.sleep(max(0.0, started + SHORTEST_SECONDS - asyncio.get_running_loop().time()))
            except (Gone, NotFound, Forbidden, TooLarge):
                raise
            except ClusterError as error:
                # The version is still good: what has happened since is told by the next watch.
                failures += 1
                self._fail(error)
                await asyncio.sleep(RETRY.delay(failures))

    async def _list(self) -> str:
        resource, query = self._watched.resource, self._query() | {"limit": str(self._watched.page)}
        listed: set[Name] = set()
        first_version = ""
        while True:
            page = await self._page(query)
            metadata = page.get("metadata") or {}
            first_version = first_version or str(metadata.get("resourceVersion", "0"))
            for position, item in enumerate(page.get("items") or ()):
                if position % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                listed.add((item["metadata"].get("namespace", ""), item["metadata"]["name"]))
                self._cache.put(resource, item)
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        self._told = ""
        self._cache.replace(resource, self._namespace, listed, int(first_version) if first_version.isdigit() else 0)
        self._beat()
        return first_version

    async def _page(self, query: dict[str, str]) -> dict[str, Any]:
        """Return a page; one that is too large with fewer objects, as all after it: ``query`` has their number."""
        while True:
            try:
                return await self._transport.request(
                    "list",
                    "GET",
                    self._served.path(self._namespace),
                    resource=self._watched.resource.plural,
                    query=query,
                    metadata_only="List" if self._watched.metadata_only else "",
                    decode=self._watched.decode_page,
                    largest=LARGEST_ANSWER,
                )
            except TooLarge:
                if (number := int(query["limit"])) == 1:
                    raise
                query["limit"] = str(max(1, number // SMALLER))

    async def _watch(self, seconds: float) -> None:
        """Take in what happens after the last version that was seen, for about so long."""
        query = self._query() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        resource = self._watched.resource
        async with self._transport.stream(
            self._served.path(self._namespace),
            resource=resource.plural,
            query=query,
            quiet_seconds=QUIET_SECONDS if self._watched.has_bookmarks else WATCH_SECONDS + QUIET_SECONDS,
            metadata_only=self._watched.metadata_only,
        ) as lines:
            self._beat()
            async for line in lines:
                self._beat()
                self._version = self._take(line) or self._version

    def _take(self, line: bytes) -> str:
        """Take one event in; return its version. Raises Gone if the watch can't go on from where it was."""
        try:
            event: Any = self._watched.decode_event(line)
            kind, body = event["type"], event["object"]
            metadata = body.get("metadata") or {}
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError) as error:
            raise Gone(f"watch of {self._watched.resource.plural}: not an event: {line[:100]!r}") from error
        resource = self._watched.resource
        if kind == "ERROR":
            raise Gone(f"watch of {resource.plural}: {body.get('message') or body}")
        metrics.EVENTS.labels(resource.plural).inc()
        metrics.LAST_EVENT_TIME.labels(resource.plural).set_to_current_time()
        version = str(metadata.get("resourceVersion", ""))
        if kind in ("ADDED", "MODIFIED"):
            self._cache.put(resource, body)
        elif kind == "DELETED":
            self._cache.remove(
                resource,
                metadata.get("namespace", ""),
                metadata["name"],
                uid=metadata.get("uid", ""),
                version=int(version) if version.isdigit() else 0,
            )
        return version

    def _query(self) -> dict[str, str]:
        chosen = {"labelSelector": self._watched.labels, "fieldSelector": self._watched.fields}
        return {name: value for name, value in chosen.items() if value}

    def _fail(self, error: ClusterError, *, is_closed: bool = False) -> None:
        self._beat()
        self._cache.fail(self._watched.resource, self._namespace, str(error), is_closed=is_closed)
        if self._told == str(error):
            return  # one that lasts is told once
        self._told = str(error)
        fields = {"resource": self._watched.resource.plural, "namespace": self._namespace or "*", "error": str(error)}
        log.log(logging.INFO if self._watched.is_optional else logging.WARNING, "watch interrupted", extra=fields)


def _around(seconds: float) -> float:
    """Return about so many seconds, for informers that were begun together to spread out."""
    return uniform(0.8, 1.2) * seconds  # noqa: S311 -- no secret
