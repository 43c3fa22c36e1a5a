"""Docker build contexts: exactly the files that go into an image, and their fingerprint."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

IGNORED_FOLDERS = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
IGNORED_SUFFIXES = (".egg-info", ".pyc")


@dataclass(frozen=True)
class BuildContext:
    """Some files below a root folder, and files with given content or source."""

    dockerfile: str
    root: Path
    inputs: tuple[str, ...] = ()
    extra: dict[str, Path] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file by its name in the context, always in the same order."""
        found = {self.dockerfile: self.root / self.dockerfile, **self.extra}
        for name in self.inputs:
            for path in _walk(self.root / name):
                found[path.relative_to(self.root).as_posix()] = path
        yield from sorted(found.items())

    def digest(self, *more: str) -> str:
        """A short fingerprint of names, contents and executable bits."""
        total = hashlib.sha256("\0".join(more).encode())
        for name, path in self.files():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            executable = path.stat().st_mode & 0o100
            total.update(f"{name}\0{executable}\0{content}\n".encode())
        return total.hexdigest()[:12]

    def write_archive(self, archive: Path) -> None:
        """Write the context as Docker reads it, the same files as the same bytes."""
        with tarfile.open(archive, "w") as tar:
            for name, path in self.files():
                member = tarfile.TarInfo(name)
                content = path.read_bytes()
                member.size = len(content)
                member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                tar.addfile(member, io.BytesIO(content))


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        if child.name in IGNORED_FOLDERS or child.name.endswith(IGNORED_SUFFIXES):
            continue
        yield from _walk(child)
