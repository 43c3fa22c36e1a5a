"""The versions on this pod's disk: one folder per manifest digest, complete and verified or not there at all.

A folder's bytes never change. Whoever evicts one makes sure first that the engine has forgotten it: an engine that
looks for the files of a registered adapter and doesn't find them dies, with all its adapters.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from graft_registry.digests import digest_hex, file_sha256
from graft_registry.documents import VersionManifest
from graft_serving.adapters.eviction import CachedFolder
from graft_serving.errors import RefusedError, RetryableError
from graft_serving.files import read_if_there, write_atomically
from graft_serving.versions import VersionKey

logger = logging.getLogger(__name__)

MANIFEST_PATH = ".graft/version.json"
INCOMING = ".incoming"
EVICTED = ".evicted"
DISK_FULL = "DiskFull"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class VersionSource(Protocol):
    """Where versions come from."""

    async def fetch(self, key: VersionKey, destination: Path) -> VersionManifest:
        """Make `destination`, which isn't there yet, the verified files of the version, and return its manifest.

        Raises:
            RefusedError: the version isn't what its digest says, or holds files that no version may hold.
            RetryableError: the registry can't be reached, won't answer, or has no such version.
        """


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """A version on the disk."""

    path: Path
    manifest: VersionManifest


class VersionsOnDisk(Protocol):
    """The versions whose files are on this pod: an `AdapterCache`, or the one that is merged."""

    def engine_path(self, key: VersionKey) -> str:
        """The path of the version's files, there or not yet, as the engine lists it for a loaded adapter."""

    def folders(self) -> tuple[CachedFolder, ...]:
        """All versions that may be evicted."""

    async def ensure(self, key: VersionKey) -> CachedVersion:
        """Return the version, verified.

        Raises:
            RefusedError, RetryableError: it can't be had.
        """

    def release(self, key: VersionKey) -> None:
        """Note that the version was needed until now."""

    def evict(self, names: Iterable[str]) -> None:
        """Take folders that the engine doesn't know out of the cache, at once."""

    async def delete_evicted(self) -> None:
        """Give the disk the room of what was evicted."""


class AdapterCache:
    """Verified versions below one folder, which the engine sees at the same path."""

    def __init__(self, root: Path, source: VersionSource) -> None:
        """Use `root`, made if missing; forget what an earlier life of the agent left half fetched or half deleted."""
        self._root = root
        self._source = source
        self._verified: dict[VersionKey, CachedVersion] = {}
        for folder in (root / INCOMING, root / EVICTED):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._folders = {path.name: _folder(path) for path in root.iterdir() if _is_version_folder(path)}

    def path_of(self, key: VersionKey) -> Path:
        """Where the version's files are, or will be."""
        return self._root / key.directory_name

    def engine_path(self, key: VersionKey) -> str:
        """The same as text, as the engine lists it."""
        return f"{self._root}/{key.directory_name}"

    def folders(self) -> tuple[CachedFolder, ...]:
        """All versions on the disk."""
        return tuple(self._folders.values())

    async def ensure(self, key: VersionKey) -> CachedVersion:
        """Return the version from the disk, fetched first if it isn't there, verified once per life of the agent.

        Raises:
            RefusedError, RetryableError: as the source says; also when the disk is full.
        """
        if cached := self._verified.get(key):
            return cached
        path = self.path_of(key)
        manifest = await asyncio.to_thread(verified_manifest, path)
        if manifest is None:
            manifest = await self._fetch(key, path)
        if (manifest.adapter, manifest.number) != (key.adapter, key.number):
            # The folder is found by its digest, whoever it was fetched for.
            raise RefusedError("DigestMismatch", f"the digest is that of {manifest.adapter}@v{manifest.number}")
        self._verified[key] = CachedVersion(path, manifest)
        return self._verified[key]

    def release(self, key: VersionKey) -> None:
        """Note that the version was needed until now. Its files stay, for a rollback, until their room is needed."""
        if folder := self._folders.get(key.directory_name):
            now = time.time()
            self._folders[folder.name] = replace(folder, used_at=now)
            # The folder's own time tells the next life of the agent; a disk that takes nothing more ends no life.
            with contextlib.suppress(OSError):
                os.utime(self._root / folder.name, (now, now))

    def evict(self, names: Iterable[str]) -> None:
        """Take folders that the engine doesn't know out of the cache, at once: whoever needs one again fetches it."""
        for name in names:
            self._verified = {key: found for key, found in self._verified.items() if key.directory_name != name}
            self._folders.pop(name, None)
            # A new name each time, without another folder: the disk may be full.
            try:
                (self._root / name).rename(self._root / EVICTED / f"{name}-{time.monotonic_ns()}")
            except FileNotFoundError:
                continue
            except OSError as error:
                logger.error("a version's folder can't be deleted path=%s: %s", self._root / name, error)

    async def delete_evicted(self) -> None:
        """Give the disk the room of what was evicted."""
        for folder in list((self._root / EVICTED).iterdir()):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fetch(self, key: VersionKey, path: Path) -> VersionManifest:
        try:
            workspace = Path(tempfile.mkdtemp(prefix=f"{key.directory_name}-", dir=self._root / INCOMING))
            try:
                manifest = await self._source.fetch(key, workspace / "version")
                await asyncio.to_thread(_commit, workspace, path, manifest)
            finally:
                await asyncio.to_thread(shutil.rmtree, workspace, ignore_errors=True)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            raise RetryableError(
                DISK_FULL, f"no room for the adapter's files in {self._root}: {error.strerror}; give the volume more"
            ) from error
        self._folders[path.name] = _folder(path)
        return manifest


def verified_manifest(path: Path) -> VersionManifest | None:
    """The manifest of a folder that holds the adapter's files which the manifest lists, byte for byte, or None."""
    raw = read_if_there(path / MANIFEST_PATH)
    if raw is None:
        return None
    try:
        manifest = VersionManifest.from_bytes(raw)
    except ValidationError:
        logger.warning("cached manifest is damaged, fetching the version again path=%s", path)
        return None
    for file in manifest.adapter_files:
        found = path / file.path
        if not found.is_file() or file_sha256(found) != file.sha256:
            logger.warning("cached file is damaged, fetching the version again path=%s", found)
            return None
    return manifest


def _commit(workspace: Path, path: Path, manifest: VersionManifest) -> None:
    """Move fetched files to their place in one step; what lies there failed its verification and gives way."""
    fetched = workspace / "version"
    write_atomically(fetched / MANIFEST_PATH, manifest.to_bytes())
    # The engine may run as another user.
    fetched.chmod(0o755)
    if path.exists():
        path.rename(workspace / "damaged")
    fetched.rename(path)


def _is_version_folder(path: Path) -> bool:
    try:
        digest_hex(f"sha256:{path.name}")
    except ValueError:
        return False
    return path.is_dir()


def _folder(path: Path) -> CachedFolder:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return CachedFolder(path.name, size, path.stat().st_mtime)
