"""Checks files, on a disk or in the store, against the manifest that lists them."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from graft_registry.adapters.publishable import path_is_allowed
from graft_registry.digests import file_sha256
from graft_registry.documents import CheckedObject, StoredFile, StoredVersion, VersionCheck
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore

_MANIFEST: Final = "manifest.json"


def verify_files(files: Iterable[StoredFile], directory: Path) -> None:
    """Read every file below ``directory``, up to the first that is missing or differs.

    Raises:
        Corrupt: names that file, and both hashes.
    """
    for file in files:
        path = directory / file.path
        actual = f"sha256 {file_sha256(path)}" if path.is_file() else "no file"
        if actual != f"sha256 {file.sha256}":
            raise Corrupt(str(path), f"sha256 {file.sha256}", actual)


def check_version(
    store: ObjectStore, layout: AdapterLayout, stored: StoredVersion, *, digest: str | None = None
) -> VersionCheck:
    """Read every object of a version again, and return what became of each. One at a time is on this machine's disk.

    Args:
        store: of the registry.
        layout: of the adapter.
        stored: the version's manifest, as it was read.
        digest: that the manifest must have, if the caller knows it.

    Raises:
        Forbidden, Unavailable: the store does not let anybody say.
    """
    number = stored.manifest.number
    manifest = CheckedObject(
        key=layout.manifest(number),
        path=_MANIFEST,
        expected=digest,
        found=stored.digest,
        verdict="Same" if digest in (None, stored.digest) else "Differs",
    )
    return VersionCheck(
        namespace=layout.namespace,
        adapter=layout.adapter,
        number=number,
        digest=stored.digest,
        base_digest=stored.manifest.base.digest,
        objects=(manifest, *(_checked(store, layout, file) for file in stored.manifest.files)),
    )


def check_of_unreadable(layout: AdapterLayout, number: int, error: Corrupt) -> VersionCheck:
    """Return the check of a version whose manifest can't be read, so that its files are not known. Pure."""
    manifest = CheckedObject(
        key=layout.manifest(number), path=_MANIFEST, expected=error.expected, found=error.actual, verdict="Differs"
    )
    return VersionCheck(namespace=layout.namespace, adapter=layout.adapter, number=number, objects=(manifest,))


def _checked(store: ObjectStore, layout: AdapterLayout, file: StoredFile) -> CheckedObject:
    checked = CheckedObject(
        key=layout.blob(file.sha256), path=file.path, size=file.size, expected=file.sha256, verdict="Same"
    )
    if not path_is_allowed(file.path):
        return checked.model_copy(update={"verdict": "NotAllowed"})
    try:
        with tempfile.TemporaryDirectory() as directory:
            found = store.download_file(checked.key, Path(directory) / "object", sha256=None, size=file.size)
    except NotFound:
        return checked.model_copy(update={"verdict": "Missing"})
    except Corrupt as error:
        return checked.model_copy(update={"verdict": "Differs", "found": error.actual})
    return checked.model_copy(update={"found": found, "verdict": "Same" if found == file.sha256 else "Differs"})
