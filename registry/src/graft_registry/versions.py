"""The versions of one adapter: published once, found by recipe, verified whenever they are read."""

import itertools
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from graft_registry.adapters.publishable import path_is_allowed, publishable_files
from graft_registry.atomic_directory import atomic_directory
from graft_registry.digests import sha256_digest
from graft_registry.documents import (
    Progress,
    RecipePointer,
    StoredVersion,
    VersionDraft,
    VersionManifest,
    timestamp,
)
from graft_registry.errors import Corrupt, NotFound, RegistryError, Unsafe, VersionConflict
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.s3.stored_documents import MANIFEST_BYTES, numbered, read_document
from graft_registry.verification import verify_files

__all__ = ["AdapterRegistry", "StoredVersion"]

log = logging.getLogger(__name__)

_NUMBER_ATTEMPTS: Final = 100
"""Every lost race means that another publisher won a number, so this many attempts lose only to a broken store."""
_LAST_NUMBER: Final = 99_999_999


class AdapterRegistry:
    """All versions of one adapter. Stateless: every answer comes from the store.

    A version is committed by the creation of its manifest; blobs come before it and the recipe's pointer after it,
    so a crash between any two writes leaves either no version or a whole one.
    """

    def __init__(self, store: ObjectStore, namespace: str, adapter: str) -> None:
        self._store = store
        self._layout = AdapterLayout(namespace, adapter)

    def find(self, recipe: str) -> StoredVersion | None:
        """Return the version that was trained from this recipe, None if there is none.

        The pointer is only a shortcut: if it is missing, damaged or dangling, the manifests are searched and the
        pointer is written anew, where that is allowed. Damaged versions are passed over.

        Raises:
            Corrupt: there are more versions than trainings make.
        """
        stored = self._follow_pointer(recipe)
        if stored is not None:
            return stored
        stored = self._search(recipe, self.numbers())
        if stored is not None:
            self._repair_pointer(stored)
        return stored

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of all committed versions, ascending.

        Raises:
            Corrupt: there are more keys than trainings make.
        """
        return numbered(self._store, self._layout.versions, self._layout.number_of)

    def read(self, number: int, digest: str | None = None) -> StoredVersion:
        """Return a version's manifest.

        Args:
            number: of the version.
            digest: that the manifest must have, if the caller knows it.

        Raises:
            NotFound: there is no such version.
            Corrupt: the manifest has another digest, can't be parsed, or belongs elsewhere.
        """
        key = self._layout.manifest(number)
        manifest, actual = read_document(self._store, key, VersionManifest, most=MANIFEST_BYTES)
        if digest is not None and digest != actual:
            raise Corrupt(key, digest, actual)
        expected = (self._layout.namespace, self._layout.adapter, number)
        found = (manifest.namespace, manifest.adapter, manifest.number)
        if found != expected:
            raise Corrupt(key, f"the manifest of {expected}", f"that of {found}")
        return StoredVersion(manifest, actual)

    def digest(self, number: int) -> str:
        """Return the digest of what is stored as a version's manifest, whatever that is.

        Raises:
            NotFound: there is no such version.
            Corrupt: it is larger than any manifest.
        """
        return sha256_digest(self._store.get(self._layout.manifest(number), most=MANIFEST_BYTES))

    def publish(self, draft: VersionDraft, directory: Path) -> StoredVersion:
        """Publish the files of a directory as the next version; idempotent by recipe.

        If the recipe was published already, by whomever, that version is returned and nothing is written but a
        lost pointer. Otherwise the version gets the next number.

        Raises:
            Unsafe: the directory contains a file that may not be published (see ``publishable_files``).
            VersionConflict: no number could be won.
            ValueError: the draft is for another adapter, or is too long to be read again.
        """
        if (draft.namespace, draft.adapter) != (self._layout.namespace, self._layout.adapter):
            raise ValueError(f"draft of {draft.namespace}/{draft.adapter} given to the registry of {self._layout}")
        existing = self.find(draft.recipe)
        if existing is not None:
            return existing
        files = publishable_files(directory)
        for file in files:
            self._store.upload_file(
                directory / file.path, self._layout.blob(file.sha256), sha256=file.sha256, size=file.size
            )
        unnumbered = {**dict(draft), "files": files, "created_time": timestamp()}
        stored = self._commit(draft.recipe, unnumbered)
        self._store.put_if_absent(self._layout.pointer(draft.recipe), _pointer_to(stored).to_bytes())
        return stored

    def fetch(self, stored: StoredVersion, destination: Path, *, merged: bool = True) -> None:
        """Make ``destination`` the verified files of a version. It appears whole or not at all.

        Does nothing but verify when the directory is there already. ``merged`` is whether its merged model is wanted.

        Raises:
            Unsafe: the manifest names a file that no version may contain.
            NotFound, Corrupt: a file is missing or differs, in the store or in the existing directory.
        """
        for file in stored.manifest.files:
            if not path_is_allowed(file.path):
                raise Unsafe(file.path, f"not a file that a version may contain (version {stored.manifest.number})")
        files = stored.manifest.files if merged else stored.manifest.adapter_files
        if destination.exists():
            verify_files(files, destination)
            return
        with atomic_directory(destination) as staging:
            for file in files:
                blob = self._layout.blob(file.sha256)
                self._store.download_file(blob, staging / file.path, sha256=file.sha256, size=file.size)

    def fetch_file(self, stored: StoredVersion, path: str, destination: Path) -> None:
        """Download one file of a version, verified; ``path`` is its path in the manifest.

        Raises:
            NotFound: the version has no such file, or its blob is gone.
            Corrupt: the file differs in the store.
        """
        file = next((file for file in stored.manifest.files if file.path == path), None)
        if file is None:
            raise NotFound(f"version {stored.manifest.number} has no {path}")
        self._store.download_file(self._layout.blob(file.sha256), destination, sha256=file.sha256, size=file.size)

    def delete_version(self, number: int) -> None:
        """Delete a version that isn't the newest: manifest first, so that it never exists in part; then its files.

        Nothing of the adapter may be published meanwhile: a file shared with the new version could vanish.

        Raises:
            VersionConflict: it is the newest version, whose number would be given out again.
        """
        numbers = self.numbers()
        if number not in numbers:
            return
        if number == numbers[-1]:
            raise VersionConflict(f"version {number} is the newest; its number would be used again")
        own = self._readable(number)
        kept = {
            file.sha256
            for other in numbers
            if other != number and (stored := self._readable(other)) is not None
            for file in stored.manifest.files
        }
        self._store.delete(self._layout.manifest(number))
        self._store.delete(self._layout.verdict(number))
        if own is None:
            return
        self._store.delete(self._layout.pointer(own.manifest.recipe))
        for sha256 in {file.sha256 for file in own.manifest.files} - kept:
            self._store.delete(self._layout.blob(sha256))

    def newest(self, most: int) -> tuple[StoredVersion, ...]:
        """Return the newest versions that can be read, at most ``most``, the newest first.

        Raises:
            Corrupt: there are more versions than trainings make.
        """
        readable = filter(None, map(self._readable, reversed(self.numbers())))
        return tuple(itertools.islice(readable, most))

    def delete_all(self) -> None:
        """Delete everything of the adapter, however much it is: manifests first, so that no version exists in part."""
        for entry in self._store.list(self._layout.versions):
            if self._layout.number_of(entry.key) is not None:
                self._store.delete(entry.key)
        self._store.delete_prefix(self._layout.root)

    def write_progress(self, progress: Progress) -> None:
        """Replace the progress of the run that ``progress`` names."""
        self._store.put(self._layout.progress(progress.recipe), progress.to_bytes())

    def read_progress(self, recipe: str) -> Progress | None:
        """Return how far the run of a recipe is, None if it has written nothing (or nothing readable) yet."""
        try:
            return read_document(self._store, self._layout.progress(recipe), Progress)[0]
        except NotFound:
            return None
        except Corrupt as error:
            log.warning("progress ignored: %s", error)
            return None

    def _repair_pointer(self, stored: StoredVersion) -> None:
        """Write the pointer to a version anew. Whoever may only read has found the version all the same."""
        recipe = stored.manifest.recipe
        try:
            self._store.put(self._layout.pointer(recipe), _pointer_to(stored).to_bytes())
        except RegistryError as error:
            log.warning("pointer not repaired recipe=%s error=%s", recipe, error)
        else:
            log.info("pointer repaired recipe=%s number=%d", recipe, stored.manifest.number)

    def _commit(self, recipe: str, unnumbered: dict[str, object]) -> StoredVersion:
        """Win the next number for a manifest, unless a version of the same recipe appears first.

        A number is only tried after all lower ones were searched for the recipe. Whoever commits the recipe takes
        a number that the loser then finds taken or searches, so one recipe never gets two versions.
        """
        searched: frozenset[int] = frozenset()
        for _ in range(_NUMBER_ATTEMPTS):
            numbers = frozenset(self.numbers())
            winner = self._search(recipe, numbers - searched)
            if winner is not None:
                return winner
            searched |= numbers
            if _LAST_NUMBER in numbers:
                key = self._layout.manifest(_LAST_NUMBER)
                raise VersionConflict(f"{key} leaves no higher number; no training made it, so delete it")
            manifest = VersionManifest.model_validate({**unnumbered, "number": max(numbers, default=0) + 1})
            data = manifest.to_bytes()
            if len(data) > MANIFEST_BYTES:
                raise ValueError(
                    f"the manifest would have {len(data)} bytes, at most {MANIFEST_BYTES} are read; "
                    "give fewer or shorter evaluation.probes, or a smaller training.maxSequenceLength"
                )
            if self._store.put_if_absent(self._layout.manifest(manifest.number), data):
                return StoredVersion(manifest, sha256_digest(data))
        raise VersionConflict(f"no version number could be won for recipe {recipe} in {_NUMBER_ATTEMPTS} attempts")

    def _search(self, recipe: str, numbers: Collection[int]) -> StoredVersion | None:
        for number in sorted(numbers):
            stored = self._readable(number)
            if stored is not None and stored.manifest.recipe == recipe:
                return stored
        return None

    def _readable(self, number: int) -> StoredVersion | None:
        """Return a version, None for one that is damaged or gone: it must not stand in the way of the others."""
        try:
            return self.read(number)
        except (NotFound, Corrupt) as error:
            log.warning("version passed over number=%d error=%s", number, error)
            return None

    def _follow_pointer(self, recipe: str) -> StoredVersion | None:
        key = self._layout.pointer(recipe)
        try:
            pointer = read_document(self._store, key, RecipePointer)[0]
            stored = self.read(pointer.number, pointer.manifest_digest)
        except (NotFound, Corrupt) as error:
            log.debug("pointer not usable key=%s error=%s", key, error)
            return None
        return stored if stored.manifest.recipe == recipe else None


def _pointer_to(stored: StoredVersion) -> RecipePointer:
    return RecipePointer(recipe=stored.manifest.recipe, number=stored.manifest.number, manifest_digest=stored.digest)
