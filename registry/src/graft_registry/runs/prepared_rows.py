"""Rows as tokens, kept for the next run that would render the same ones: whole or not there.

They are a cache: where they are missing or damaged, they are rendered anew. They hold a tenant's data, so they are kept
below the adapter's own prefix and are deleted with it.
"""

import logging
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from graft_registry.atomic_directory import atomic_directory
from graft_registry.documents import PreparedRowsManifest, timestamp
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.runs.stored_directories import download_files, upload_directory
from graft_registry.s3.store import ObjectStore

log = logging.getLogger(__name__)


class PreparedRowsStore:
    """The prepared rows of one adapter, by the digest of all that decides what they are."""

    def __init__(self, store: ObjectStore, namespace: str, adapter: str) -> None:
        self._store = store
        self._layout = AdapterLayout(namespace, adapter)

    def save(self, digest: str, directory: Path) -> None:
        """Store all files below a directory: files first, manifest last. What is there already is replaced.

        Raises:
            ValueError: a file has a name that can't be stored (see ``StoredFile``).
        """
        self._store.delete(self._layout.prepared_manifest(digest))
        files = upload_directory(self._store, directory, partial(self._layout.prepared_file, digest))
        manifest = PreparedRowsManifest(digest=digest, files=files, created_time=timestamp())
        self._store.put(self._layout.prepared_manifest(digest), manifest.to_bytes())

    def has(self, digest: str) -> bool:
        """Return whether the rows of a digest seem to be there: their manifest is."""
        return self._store.exists(self._layout.prepared_manifest(digest))

    def restore(self, digest: str, destination: Path) -> bool:
        """Make ``destination`` the rows of a digest, if they are there and verify; return whether they did.

        Raises:
            Unavailable: the store is away.
            OSError: ``destination`` exists and isn't empty.
        """
        try:
            manifest = self._manifest(digest)
            with atomic_directory(destination) as staging:
                download_files(self._store, manifest.files, staging, partial(self._layout.prepared_file, digest))
        except NotFound:
            return False
        except Corrupt as error:
            log.warning("prepared rows are damaged digest=%s error=%s", digest, error)
            return False
        return True

    def prune(self, keep: int = 2) -> None:
        """Delete all but the newest ``keep`` preparations, and what was left of ones that were never completed.

        Raises:
            ValueError: ``keep`` is below 1.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        keys = (entry.key for entry in self._store.list(self._layout.prepared_rows))
        digests = {digest for key in keys if (digest := self._layout.prepared_digest(key)) is not None}
        for digest in sorted(digests, key=self._created, reverse=True)[keep:]:
            # The manifest first, so that they never seem whole when they aren't.
            self._store.delete(self._layout.prepared_manifest(digest))
            self._store.delete_prefix(self._layout.prepared(digest))

    def _created(self, digest: str) -> tuple[str, str]:
        try:
            return self._manifest(digest).created_time, digest
        except (NotFound, Corrupt):
            return "", digest

    def _manifest(self, digest: str) -> PreparedRowsManifest:
        key = self._layout.prepared_manifest(digest)
        try:
            manifest = PreparedRowsManifest.from_bytes(self._store.get(key))
        except ValidationError as error:
            raise Corrupt(key, "a graft.dev/rows/v1 document", str(error)) from error
        if manifest.digest != digest:
            raise Corrupt(key, f"the rows of {digest}", f"those of {manifest.digest}")
        return manifest
