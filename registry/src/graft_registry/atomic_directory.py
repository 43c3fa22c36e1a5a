"""Directories that are filled atomically: they appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_directory(destination: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``destination`` that is renamed to it when the block succeeds.

    When the block fails the directory is removed and ``destination`` is untouched. A killed process leaves a hidden
    ``.<name>.*`` directory behind, never a half-filled ``destination``. A machine that loses its power may; nothing is
    synced to the disk, which costs time, because whoever finds the directory verifies it.

    Raises:
        OSError: ``destination`` exists and isn't empty.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield staging
        staging.chmod(0o755)
        staging.rename(destination)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
