"""The rows of datasets in ConfigMaps: the only objects of users' own that the operator reads the content of.

They are not ours to hold in memory, so their names and versions alone are watched. The content is read once for each
version that an adapter refers to, beside the passes, and only its digest is kept.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graft_operator.api.dataset import DatasetSource
from graft_operator.cluster import Cache, Cluster, ClusterError
from graft_operator.cluster.resources import CONFIG_MAPS, USER_CONFIG_MAPS
from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.controller_runtime.keys import AdapterKey
from graft_registry.digests import sha256_digest

log = logging.getLogger(__name__)

Name = tuple[str, str]
UNREAD_SECONDS = 30.0
"""After which one that could not be read is read again."""
READERS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a dataset, as far as the operator can see them."""

    digest: str | None = None
    """Digest of their content; None where only the trainer can tell."""
    problem: str = ""
    """Why they can't be used."""
    is_pending: bool = False
    """Whether they are just being read."""


@dataclass(frozen=True, slots=True)
class _Read:
    version: tuple[str, int]
    digests: Mapping[str, str]
    problem: str = ""
    due: float = math.inf
    """When it is read again although it is the same, by the loop's clock."""


class DatasetDigests:
    """Digests of ConfigMaps' keys, by the version that is current. For one event loop."""

    def __init__(self, cluster: Cluster, cache: Cache, on_news: Callable[[AdapterKey], None]) -> None:
        self.on_news = on_news
        self._cluster = cluster
        self._cache = cache
        self._known: dict[Name, _Read] = {}
        self._readers: defaultdict[Name, set[AdapterKey]] = defaultdict(set)
        self._read_by: defaultdict[AdapterKey, dict[str, Name]] = defaultdict(dict)
        """The ConfigMap that each field of an adapter's spec names."""
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(READERS_AT_ONCE)

    def rows(self, adapter: AdapterKey, source: DatasetSource | None, field: str) -> Rows:
        """Return what is known of the rows of one field of an adapter's spec; what is not known yet is read."""
        if source is None or source.config_map is None:
            self._leave(adapter, field)
            return Rows(digest=source.s3.digest if source is not None and source.s3 else None)
        name, key = (adapter.namespace, source.config_map.name), source.config_map.key
        self._leave(adapter, field, to=name)
        version = self._version(name)
        if version is None:
            return Rows(problem=f"{field}: there is no ConfigMap {name[1]} in this namespace; apply it")
        known = self._known.get(name)
        if known is None or known.version[0] != version[0] or known.version[1] < version[1]:
            self._read(name, version)
            return Rows(is_pending=True)
        if known.due <= asyncio.get_running_loop().time():
            self._read(name, version)
        if known.problem:
            return Rows(problem=f"{field}: ConfigMap {name[1]} can't be read: {known.problem}")
        if key not in known.digests:
            return Rows(problem=f"{field}: there is no key {key} in ConfigMap {name[1]} in this namespace; apply it")
        return Rows(digest=known.digests[key])

    def readers(self, namespace: str, name: str) -> frozenset[AdapterKey]:
        """Return the adapters that have asked for a ConfigMap's rows."""
        return frozenset(self._readers.get((namespace, name), ()))

    def forget(self, adapter: AdapterKey) -> None:
        """Forget an adapter that is gone, and what only it has asked for."""
        for field in [*self._read_by.get(adapter, ())]:
            self._leave(adapter, field)

    def _leave(self, adapter: AdapterKey, field: str, *, to: Name | None = None) -> None:
        """Note that a field names no ConfigMap any more, or another; forget what nobody names."""
        before = self._read_by.get(adapter, {}).get(field)
        if before == to:
            return
        if to is not None:
            self._read_by[adapter][field] = to
            self._readers[to].add(adapter)
        else:
            del self._read_by[adapter][field]
        if before is not None and before not in self._read_by[adapter].values():
            self._readers[before].discard(adapter)
            if not self._readers[before]:
                del self._readers[before]
                self._known.pop(before, None)
        if not self._read_by[adapter]:
            del self._read_by[adapter]

    def _version(self, name: Name) -> tuple[str, int] | None:
        """Return the version of a ConfigMap; one that carries our own label is watched as if we had made it."""
        return self._cache.version(USER_CONFIG_MAPS, *name) or self._cache.version(CONFIG_MAPS, *name)

    def _read(self, name: Name, version: tuple[str, int]) -> None:
        if name not in self._tasks:
            self._tasks[name] = asyncio.get_running_loop().create_task(self._read_until_known(name, version))

    async def _read_until_known(self, name: Name, version: tuple[str, int]) -> None:
        try:
            self._known[name] = await self._content(name, version)
        finally:
            del self._tasks[name]
        for adapter in self._readers.get(name, ()):
            self.on_news(adapter)

    async def _content(self, name: Name, version: tuple[str, int]) -> _Read:
        backoff, failures = Backoff(cap_seconds=60), 0
        while True:
            try:
                async with self._turns:
                    body = await self._cluster.get(CONFIG_MAPS, *name)
            except ClusterError as error:
                failures += 1
                if failures == 3:
                    due = asyncio.get_running_loop().time() + UNREAD_SECONDS
                    return _Read(version, {}, str(error), due)
                await asyncio.sleep(backoff.delay(failures))
                continue
            content = body or {}
            keys = [*(content.get("data") or {}), *(content.get("binaryData") or {})]
            found = {key: config_map_content(content, key) for key in keys}
            digests = {key: sha256_digest(value) for key, value in found.items() if value is not None}
            return _Read(_version_of(content) or version, digests)


def config_map_content(body: Mapping[str, Any], key: str) -> bytes | None:
    """Return the file that a pod would see under a key of a ConfigMap, None where there is none."""
    if (text := (body.get("data") or {}).get(key)) is not None:
        return str(text).encode()
    binary = (body.get("binaryData") or {}).get(key)
    return None if binary is None else base64.b64decode(binary)


def _version_of(body: Mapping[str, Any]) -> tuple[str, int] | None:
    metadata = body.get("metadata") or {}
    number = str(metadata.get("resourceVersion", ""))
    return (metadata.get("uid", ""), int(number)) if number.isdigit() else None
