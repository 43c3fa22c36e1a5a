"""A version that lies on this machine, verified, ready to be brought elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from graft_registry.digests import sha256_digest
from graft_registry.documents import StoredFile, VersionManifest
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.s3.stored_documents import MANIFEST_BYTES
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry, StoredVersion

_CONDEMNED = frozenset({"RolledBack", "Refused", "Rejected"})


@dataclass(frozen=True, slots=True)
class OpenedVersion:
    """A version's manifest, its very bytes, and its adapter's files in ``directory``."""

    stored: StoredVersion
    manifest_bytes: bytes
    directory: Path

    @property
    def manifest(self) -> VersionManifest:
        """The manifest."""
        return self.stored.manifest

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """What is exported: all files but a merged model, which is as large as a base."""
        return self.manifest.adapter_files

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.manifest.namespace}/{self.manifest.adapter} v{self.manifest.number}"


def open_version(
    store: ObjectStore, namespace: str, adapter: str, *, number: int | None, digest: str | None, workspace: Path
) -> OpenedVersion:
    """Return a version with its files, which are verified.

    Args:
        store: of the registry.
        namespace: of the adapter.
        adapter: its name.
        number: of the version; None for the newest that no verdict speaks against.
        digest: that its manifest must have, if it is known.
        workspace: an empty directory with room for the files.

    Raises:
        NotFound: there is no such version.
        Corrupt: something stored isn't what it should be.
    """
    registry = AdapterRegistry(store, namespace, adapter)
    stored = registry.read(number, digest) if number is not None else _newest_good(registry, store, namespace, adapter)
    key = AdapterLayout(namespace, adapter).manifest(stored.manifest.number)
    content = store.get(key, most=MANIFEST_BYTES)
    if (actual := sha256_digest(content)) != stored.digest:
        raise Corrupt(key, stored.digest, actual)
    files = workspace / "version"
    registry.fetch(stored, files, merged=False)
    return OpenedVersion(stored, content, files)


def _newest_good(registry: AdapterRegistry, store: ObjectStore, namespace: str, adapter: str) -> StoredVersion:
    verdicts = VerdictRegistry(store, namespace, adapter).read_all()
    condemned = {verdict.manifest_digest for verdict in verdicts.values() if verdict.state in _CONDEMNED}
    for stored in registry.newest(len(verdicts) + 1):
        if stored.digest not in condemned:
            return stored
    raise NotFound(f"{namespace}/{adapter} has no version that may be exported; name one with --number")
