"""Directories that are kept in the store file by file, beside a manifest that lists them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from graft_registry.digests import file_sha256
from graft_registry.documents import StoredFile
from graft_registry.s3.store import ObjectStore

KeyOf = Callable[[str], str]
"""The key of a file, by its path below the directory."""


def upload_directory(store: ObjectStore, directory: Path, key_of: KeyOf) -> tuple[StoredFile, ...]:
    """Store all regular files below a directory, and return them sorted by path. Links are left out.

    Raises:
        ValueError: a file has a name that can't be stored (see ``StoredFile``).
    """
    files = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()):
        name = path.relative_to(directory).as_posix()
        file = StoredFile(path=name, size=path.stat().st_size, sha256=file_sha256(path))
        store.upload_file(path, key_of(name), sha256=file.sha256, size=file.size)
        files.append(file)
    return tuple(files)


def download_files(store: ObjectStore, files: Iterable[StoredFile], directory: Path, key_of: KeyOf) -> None:
    """Put files into a directory, each verified before it appears.

    Raises:
        NotFound, Corrupt: a file is missing or damaged in the store.
    """
    for file in files:
        store.download_file(key_of(file.path), directory / file.path, sha256=file.sha256, size=file.size)
