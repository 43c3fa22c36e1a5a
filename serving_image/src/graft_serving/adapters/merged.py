"""The one version of a pod whose engine serves it merged: an init container has brought it, and verified every file."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from graft_registry.documents import VersionManifest
from graft_serving.adapters.cache import CachedVersion
from graft_serving.adapters.eviction import CachedFolder
from graft_serving.errors import RefusedError
from graft_serving.versions import VersionKey


class MergedVersion:
    """A version that came with the pod and leaves with it. It takes the place of the cache."""

    def __init__(self, manifest_path: Path) -> None:
        """Read the manifest.

        Raises:
            ValueError: it can't be read, or it is none.
        """
        try:
            self.manifest = VersionManifest.from_bytes(manifest_path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ValueError(f"GRAFT_MERGED_MANIFEST: {manifest_path} holds no manifest: {error}") from error
        self._path = manifest_path

    def place_of(self, key: VersionKey) -> str:
        """Where the version is, as the engine is told: it has loaded the model from beside the manifest."""
        return str(self._path)

    def folders(self) -> tuple[CachedFolder, ...]:
        """Nothing that could be evicted."""
        return ()

    async def ensure(self, key: VersionKey) -> CachedVersion:
        """Return the version.

        Raises:
            RefusedError: the pod was made for another one.
        """
        own = self.manifest
        if (key.adapter, key.number) != (own.adapter, own.number):
            raise RefusedError("NotMergedHere", f"this pod was made for {own.adapter}@v{own.number} alone")
        return CachedVersion(self._path, own)

    def release(self, key: VersionKey) -> None:
        """Keep everything: the engine has it."""

    def evict(self, names: Iterable[str]) -> None:
        """Keep everything: the engine has it."""

    async def delete_evicted(self) -> None:
        """Nothing was evicted."""
