"""Directories that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync_directory(directory: Path) -> None:
    """Put the directory's entries (renames, new files) on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def directory_appearing_whole(destination: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``destination`` that is renamed to it when the block succeeds.

    When the block fails the directory is removed and ``destination`` is untouched. A crash leaves a hidden
    ``.<name>.*`` directory behind, never a half-filled ``destination``.

    Raises:
        OSError: ``destination`` exists and isn't empty.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield staging
        staging.chmod(0o755)
        for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            fsync_directory(folder)
        staging.rename(destination)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    fsync_directory(destination.parent)
