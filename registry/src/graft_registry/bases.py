"""The bases of one BaseModel: each source resolved once and for all, each content stored once."""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from graft_registry.digests import file_sha256
from graft_registry.documents import BaseDrift, BaseManifest, BaseSource, BaseSourceRecord, StoredFile, timestamp
from graft_registry.errors import Corrupt, NotFound, RegistryError
from graft_registry.layout import BaseLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.s3.stored_documents import MANIFEST_BYTES, read_document

log = logging.getLogger(__name__)

_PARALLEL_FILES: Final = 4


class BaseRegistry:
    """All revisions of one base. Stateless: every answer comes from the store."""

    def __init__(self, store: ObjectStore, namespace: str, base: str) -> None:
        self._store = store
        self._layout = BaseLayout(namespace, base)

    def resolved(self, source: BaseSource) -> BaseManifest | None:
        """Return the base that a source was resolved to, None if it never was, or if that base is gone.

        Raises:
            Corrupt: the record or the manifest that it names is damaged.
        """
        record = self._read_record(source)
        return None if record is None else self._find(record.digest)

    def read(self, digest: str) -> BaseManifest:
        """Return the manifest of a base by its base digest.

        Raises:
            NotFound: there is no such base.
            Corrupt: the manifest can't be parsed, or is of other content.
        """
        key = self._layout.manifest(digest)
        manifest, _ = read_document(self._store, key, BaseManifest, most=MANIFEST_BYTES)
        if manifest.digest != digest:
            raise Corrupt(key, digest, manifest.digest)
        return manifest

    def publish(self, manifest: BaseManifest, directory: Path) -> BaseManifest:
        """Store a base, files first, unless its content is there already; return the manifest that now stands.

        A manifest is written once, but for its location: files in the registry supersede files in a claim, and
        another claim supersedes one, which may be gone.

        Raises:
            ValueError: the manifest is of another base.
        """
        if (manifest.namespace, manifest.name) != (self._layout.namespace, self._layout.base):
            raise ValueError(
                f"manifest of {manifest.namespace}/{manifest.name} given to the registry of {self._layout}"
            )
        existing = self._find(manifest.digest)
        if existing is not None and not _supersedes(manifest, existing):
            return existing
        if manifest.location.registry:
            self._upload(manifest.files, directory)
        key = self._layout.manifest(manifest.digest)
        if existing is not None:
            self._store.put(key, manifest.to_bytes())
        else:
            self._store.put_if_absent(key, manifest.to_bytes())
        return self.read(manifest.digest)

    def record_source(self, source: BaseSource, digest: str) -> str:
        """Record what a source was resolved to, and return the digest that holds: the first that was recorded.

        A record of a base that is gone holds no longer.
        """
        record = BaseSourceRecord(source=source, digest=digest, created_time=timestamp())
        if self._store.put_if_absent(self._layout.source(source.digest()), record.to_bytes()):
            return digest
        first = self._read_record(source)
        if first is None:
            raise RegistryError(f"{self._layout.source(source.digest())} was deleted while it was written")
        if first.digest != digest and self._find(first.digest) is None:
            self._store.put(self._layout.source(source.digest()), record.to_bytes())
            return digest
        return first.digest

    def fetch(self, manifest: BaseManifest, destination: Path, files: Iterable[StoredFile] | None = None) -> None:
        """Put the files of a base, all or some, into a directory, several at a time, each verified before it appears.

        Files that are there already and verify are kept. Other files in the directory are left alone.

        Raises:
            ValueError: the files are in a claim, not in the registry.
            NotFound, Corrupt: a file is missing or damaged in the store.
        """
        if not manifest.location.registry:
            raise ValueError(f"the files of base {manifest.digest} are in a claim; mount it instead")

        def fetch_missing(file: StoredFile) -> None:
            path = destination / file.path
            if not path.is_file() or path.stat().st_size != file.size or file_sha256(path) != file.sha256:
                self.fetch_file(file, path)

        with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
            list(pool.map(fetch_missing, manifest.files if files is None else files))

    def fetch_file(self, file: StoredFile, path: Path) -> None:
        """Download one file of a base, verified.

        Raises:
            NotFound, Corrupt: it is missing or damaged in the store.
        """
        self._store.download_file(self._layout.blob(file.sha256), path, sha256=file.sha256, size=file.size)

    def record_drift(self, drift: BaseDrift) -> None:
        """Store how far a base is from the one before."""
        self._store.put(self._layout.drift(drift.digest, drift.previous), drift.to_bytes())

    def drift(self, digest: str, previous: str) -> BaseDrift | None:
        """Return how far a base is from the one before, None where that was not measured (or nothing readable)."""
        key = self._layout.drift(digest, previous)
        try:
            return read_document(self._store, key, BaseDrift)[0]
        except NotFound:
            return None
        except Corrupt as error:
            log.warning("drift ignored: %s", error)
            return None

    def _upload(self, files: tuple[StoredFile, ...], directory: Path) -> None:
        def upload_file(file: StoredFile) -> None:
            key = self._layout.blob(file.sha256)
            self._store.upload_file(directory / file.path, key, sha256=file.sha256, size=file.size)

        with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
            list(pool.map(upload_file, files))

    def _find(self, digest: str) -> BaseManifest | None:
        try:
            return self.read(digest)
        except NotFound:
            return None

    def _read_record(self, source: BaseSource) -> BaseSourceRecord | None:
        key = self._layout.source(source.digest())
        try:
            return read_document(self._store, key, BaseSourceRecord)[0]
        except NotFound:
            return None


def _supersedes(new: BaseManifest, old: BaseManifest) -> bool:
    """Return whether a base's files are to be taken from a new place. Pure."""
    if old.location.registry:
        return False
    return new.location != old.location
