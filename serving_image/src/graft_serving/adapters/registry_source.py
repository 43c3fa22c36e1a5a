"""Versions from the registry, with its errors sorted into refusals and things that may pass."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from graft_registry.documents import VersionManifest
from graft_registry.errors import Corrupt, Forbidden, InvalidModel, NotFound, RegistryError, Unavailable, Unsafe
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_serving.errors import RefusedError, RetryableError
from graft_serving.versions import VersionKey

FETCHES_AT_ONCE = 8

_REFUSALS: dict[type[RegistryError], str] = {
    Corrupt: "DigestMismatch",
    Unsafe: "UnsafeFile",
    InvalidModel: "InvalidAdapter",
}
_RETRYABLE: dict[type[RegistryError], str] = {
    Forbidden: "RegistryForbidden",
    NotFound: "VersionNotFound",
    Unavailable: "RegistryUnavailable",
}


class RegistrySource:
    """Fetches the versions of one namespace's adapters."""

    def __init__(self, open_store: Callable[[], ObjectStore], namespace: str) -> None:
        """Read what belongs to `namespace` from the store, which is opened for each version."""
        self._open_store = open_store
        self._namespace = namespace
        # Threads of their own: a store that hangs must not hold up what needs only the disk.
        self._threads = ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="fetch")

    async def fetch(self, key: VersionKey, destination: Path) -> VersionManifest:
        """Make `destination` the verified files of the version, and return its manifest.

        Once nobody waits for it, no more is fetched, and the folder of `destination` goes, too.

        Raises:
            RefusedError: the version isn't what its digest says, or holds files that no version may hold.
            RetryableError: the registry can't be reached, won't answer, or has no such version.
        """
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._fetch, key, destination, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise
        except RegistryError as error:
            if reason := _REFUSALS.get(type(error)):
                raise RefusedError(reason, str(error)) from error
            raise RetryableError(_RETRYABLE.get(type(error), "RegistryError"), str(error)) from error

    def _fetch(self, key: VersionKey, destination: Path, given_up: threading.Event) -> VersionManifest:
        store = self._open_store().until(given_up.is_set)
        registry = AdapterRegistry(store, self._namespace, key.adapter)
        try:
            stored = registry.read(key.number, key.manifest_digest)
            registry.fetch(stored, destination, merged=False)
        finally:
            if given_up.is_set():
                # A thread goes on for a while: what it wrote since its folder was deleted would be there for ever.
                shutil.rmtree(destination.parent, ignore_errors=True)
        return stored.manifest
