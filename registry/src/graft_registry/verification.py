"""Files that lie somewhere already: are they what a manifest says?"""

from collections.abc import Iterable
from pathlib import Path

from graft_registry.digests import file_sha256
from graft_registry.documents import StoredFile
from graft_registry.errors import Corrupt


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
