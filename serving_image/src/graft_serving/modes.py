"""What a pod serves: a base with versions that are loaded beside one another, or one version merged into the model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from graft_registry.documents import BaseManifest, BaseReference, VersionManifest
from graft_registry.s3.store import ObjectStore
from graft_serving.adapters.bring_up import Check
from graft_serving.adapters.cache import AdapterCache, CachedVersion, VersionsOnDisk
from graft_serving.adapters.checks import version_check
from graft_serving.adapters.eviction import CachedFolder
from graft_serving.adapters.registry_source import RegistrySource
from graft_serving.engine.client import EngineClient
from graft_serving.engine.merged import MergedEngineClient
from graft_serving.errors import RefusedError
from graft_serving.settings import Settings
from graft_serving.versions import VersionKey

BASE_MANIFEST = ".graft/base.json"


class MergedVersion:
    """The one version of a pod whose engine serves it merged: an init container has brought and verified it.

    It lives as long as the pod does, and stands in for an `AdapterCache`.
    """

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

    def engine_path(self, key: VersionKey) -> str:
        """The manifest's path, which stands for the model: the engine has loaded that from the same folder."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMode:
    """The parts of the agent that differ between its two modes; everything else is the same."""

    base: BaseManifest | BaseReference
    """The base that the versions belong to."""
    has_base: bool
    """Whether the bare base is served, too."""
    versions: VersionsOnDisk
    check: Check
    engine: type[EngineClient]
    """The client by which the engine's loaded adapters are listed and changed."""


def serving_mode(settings: Settings, open_store: Callable[[], ObjectStore]) -> ServingMode:
    """The mode that the settings ask for. The store is opened whenever a version is fetched.

    Raises:
        ValueError: the manifest of a merged version can't be read.
    """
    if settings.merged_manifest is not None:
        merged = MergedVersion(settings.merged_manifest)
        return ServingMode(
            base=merged.manifest.base, has_base=False, versions=merged, check=accept_any, engine=MergedEngineClient
        )
    base = BaseManifest.from_bytes((settings.base_dir / BASE_MANIFEST).read_bytes())
    return ServingMode(
        base=base,
        has_base=True,
        versions=AdapterCache(settings.adapters_dir, RegistrySource(open_store, settings.namespace)),
        check=version_check(base, max_rank=settings.max_rank),
        engine=EngineClient,
    )


def accept_any(path: Path, manifest: VersionManifest) -> None:
    """Accept a merged version unseen: the engine has loaded its model already, and no files of an adapter."""


def engine_client(
    settings: Settings, session: aiohttp.ClientSession, kind: type[EngineClient] = EngineClient
) -> EngineClient:
    """A client of the pod's engine."""
    return kind(
        session,
        settings.engine_url,
        load_timeout=settings.engine_load_timeout_seconds,
        generate_timeout=settings.engine_generate_timeout_seconds,
    )
