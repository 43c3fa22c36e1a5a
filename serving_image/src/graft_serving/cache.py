"""The versions on this pod's disk: one folder per manifest digest, complete and verified or not there at all.

A folder's bytes never change. Whoever deletes one makes sure first that the engine has forgotten it: an engine that
looks for the files of a registered adapter and doesn't find them dies, with all its adapters.
"""

import asyncio
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from graft_registry.digests import digest_hex, file_sha256
from graft_registry.documents import VersionManifest
from graft_serving.files import read_if_there, write_atomically
from graft_serving.versions import VersionKey

logger = logging.getLogger(__name__)

MANIFEST_PATH = ".graft/version.json"
INCOMING = ".incoming"


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


class AdapterCache:
    """Verified versions below one folder, which the engine sees at the same path."""

    def __init__(self, root: Path, source: VersionSource) -> None:
        """Use `root`, made if missing; forget downloads that an earlier life of the agent left unfinished."""
        self._root = root
        self._source = source
        self._verified: dict[VersionKey, CachedVersion] = {}
        shutil.rmtree(root / INCOMING, ignore_errors=True)
        (root / INCOMING).mkdir(parents=True)

    def path_of(self, key: VersionKey) -> Path:
        """Where the version's files are, or will be."""
        return self._root / key.directory_name

    def directories(self) -> frozenset[str]:
        """Names of the folders of all versions on the disk."""
        return frozenset(path.name for path in self._root.iterdir() if _is_version_directory(path))

    async def ensure(self, key: VersionKey) -> CachedVersion:
        """Return the version from the disk, fetched first if it isn't there, verified once per life of the agent.

        Raises:
            RefusedError, RetryableError: as the source says.
        """
        if cached := self._verified.get(key):
            return cached
        path = self.path_of(key)
        manifest = await asyncio.to_thread(verified_manifest, path)
        if manifest is None:
            manifest = await self._fetch(key, path)
        self._verified[key] = CachedVersion(path, manifest)
        return self._verified[key]

    async def delete(self, directory_name: str) -> None:
        """Delete one folder. The engine must have forgotten it before."""
        self._verified = {key: found for key, found in self._verified.items() if key.directory_name != directory_name}
        await asyncio.to_thread(shutil.rmtree, self._root / directory_name, ignore_errors=True)

    async def _fetch(self, key: VersionKey, path: Path) -> VersionManifest:
        workspace = Path(tempfile.mkdtemp(prefix=f"{key.directory_name}-", dir=self._root / INCOMING))
        try:
            manifest = await self._source.fetch(key, workspace / "version")
            await asyncio.to_thread(_commit, workspace, path, manifest)
        finally:
            await asyncio.to_thread(shutil.rmtree, workspace, ignore_errors=True)
        return manifest


def verified_manifest(path: Path) -> VersionManifest | None:
    """The manifest of a folder that holds all files which the manifest lists, byte for byte; None for any other."""
    raw = read_if_there(path / MANIFEST_PATH)
    if raw is None:
        return None
    try:
        manifest = VersionManifest.from_bytes(raw)
    except ValidationError:
        logger.warning("cached manifest is damaged, fetching the version again path=%s", path)
        return None
    for file in manifest.files:
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


def _is_version_directory(path: Path) -> bool:
    try:
        digest_hex(f"sha256:{path.name}")
    except ValueError:
        return False
    return path.is_dir()
