"""Async access to bases and versions. Every call runs in a thread, because the registry library blocks."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

from graft_operator.engine.controller import TransientError
from graft_operator.telemetry import metrics
from graft_registry.bases import BaseRegistry
from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseDrift, BaseManifest, BaseSource, Progress, StoredVersion
from graft_registry.errors import Forbidden, Unavailable
from graft_registry.store import ObjectStore
from graft_registry.versions import AdapterRegistry

CACHED_VERSIONS: Final = 1024
"""Manifests have about 10 KiB each."""

T = TypeVar("T")


class RegistryUnavailable(TransientError):
    """The store can't be reached, times out, throttles, or has no such bucket."""


class Artifacts:
    """What the registry holds. Safe for concurrent use.

    Every method may raise RegistryUnavailable, and Forbidden or another RegistryError of `graft_registry.errors`.
    Version manifests asked for by digest are immutable and cached. Nothing else is: pointers and listings move, and
    a base manifest may name a new location for the same content.
    """

    def __init__(self, config: RegistryConfig) -> None:
        self._store = ObjectStore(config)
        self._is_probed = False
        self._conditional_writes: bool | None = None
        self._read_known = lru_cache(maxsize=CACHED_VERSIONS)(self._read)

    async def find_version(self, namespace: str, adapter: str, recipe: str) -> StoredVersion | None:
        """Return the version that was trained from this recipe, None if there is none."""
        return await self._call("find_version", lambda: self._versions(namespace, adapter).find(recipe))

    async def read_version(self, namespace: str, adapter: str, number: int, digest: str | None = None) -> StoredVersion:
        """Return one version, from the cache if `digest` is given. Raises NotFound, Corrupt."""
        if digest is not None:
            return await self._call("read_version", lambda: self._read_known(namespace, adapter, number, digest))
        return await self._call("read_version", lambda: self._read(namespace, adapter, number, None))

    async def version_numbers(self, namespace: str, adapter: str) -> tuple[int, ...]:
        """Return the numbers of all committed versions, ascending."""
        return await self._call("version_numbers", lambda: self._versions(namespace, adapter).numbers())

    async def progress(self, namespace: str, adapter: str, recipe: str) -> Progress | None:
        """Return how far the run of a recipe is, None if it has written nothing yet."""
        return await self._call("progress", lambda: self._versions(namespace, adapter).read_progress(recipe))

    async def resolved_base(self, namespace: str, name: str, source: BaseSource) -> BaseManifest | None:
        """Return the base that a source was resolved to, None if it never was. Raises Corrupt."""
        return await self._call("resolved_base", lambda: BaseRegistry(self._store, namespace, name).resolved(source))

    async def base(self, namespace: str, name: str, digest: str) -> BaseManifest:
        """Return a base by its base digest. Raises NotFound, Corrupt."""
        return await self._call("base", lambda: BaseRegistry(self._store, namespace, name).read(digest))

    async def base_drift(self, namespace: str, name: str, digest: str, previous: str) -> BaseDrift | None:
        """Return how far a base is from the one before, None where that was not measured."""
        return await self._call(
            "base_drift", lambda: BaseRegistry(self._store, namespace, name).drift(digest, previous)
        )

    async def delete_version(self, namespace: str, adapter: str, number: int) -> None:
        """Delete a version that isn't the newest, and its files. Raises VersionConflict if it is the newest."""
        await self._call("delete_version", lambda: self._versions(namespace, adapter).delete_version(number))
        self._read_known.cache_clear()

    async def delete_adapter(self, namespace: str, adapter: str) -> None:
        """Delete everything of an adapter: versions, files, runs."""
        await self._call("delete_adapter", lambda: self._versions(namespace, adapter).delete_all())
        self._read_known.cache_clear()

    async def honours_conditional_writes(self) -> bool | None:
        """Return whether the bucket honours conditional writes; None where this process may not try.

        One object is written twice, once in the life of the process: a bucket does not learn it while it is in use.
        """
        if not self._is_probed:
            with contextlib.suppress(Forbidden):
                self._conditional_writes = await self._call("probe", self._store.probe_conditional_writes)
            self._is_probed = True
        return self._conditional_writes

    def _versions(self, namespace: str, adapter: str) -> AdapterRegistry:
        return AdapterRegistry(self._store, namespace, adapter)

    def _read(self, namespace: str, adapter: str, number: int, digest: str | None) -> StoredVersion:
        return self._versions(namespace, adapter).read(number, digest)

    async def _call(self, operation: str, function: Callable[[], T]) -> T:
        result = "error"
        started = asyncio.get_running_loop().time()
        try:
            answer = await asyncio.to_thread(function)
        except Unavailable as error:
            result = "unavailable"
            raise RegistryUnavailable(f"registry: {error}") from error
        else:
            result = "success"
            return answer
        finally:
            metrics.REGISTRY_CALLS.labels(operation, result).inc()
            metrics.REGISTRY_CALL_SECONDS.labels(operation).observe(asyncio.get_running_loop().time() - started)
