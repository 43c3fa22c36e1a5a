"""An adapter in a folder on a disk: of a volume that the platform mounts, or of an artifact that was brought."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graft_registry.digests import file_sha256
from graft_registry.documents import AdapterDirectory
from graft_registry.sources.adapter_files import MOST_FILES, few_enough
from graft_registry.sources.source_files import SourceError, SourceProblem, leads_out, mounted_root

CLAIM_FIELD: Final = "spec.source.persistentVolumeClaim.path"


@dataclass(frozen=True)
class MountedAdapter:
    """Files of a folder; they are copied, since they may change.

    ``field``: of the spec, that names it. ``root``: what no link may lead out of, into files of this pod, which would
    be published.
    """

    path: Path
    where: str
    field: str
    root: Path
    revision: str | None = None

    def names(self) -> list[str]:
        """Return the paths of all files below the folder."""
        self._real(self.path)
        if not self.path.is_dir():
            what = "is a file; name the folder that it is in" if self.path.exists() else "does not exist"
            raise SourceError(SourceProblem.NOT_FOUND, f"{self.where} {what}", self.field)
        below = (Path(root, name) for root, _, files in os.walk(self.path, onerror=_raise) for name in files)
        found = [path.relative_to(self.path).as_posix() for path in itertools.islice(below, MOST_FILES + 1)]
        return few_enough(found, where=self.where, field=self.field)

    def size(self, name: str) -> int:
        """Return a file's bytes."""
        return self._real(self.path / name).stat().st_size

    def sha256(self, name: str) -> str:
        """Return a file's hash, without a copy of it."""
        return file_sha256(self._real(self.path / name))

    def bring(self, name: str, folder: Path) -> Path:
        """Copy a file below ``folder`` and return where it is."""
        return Path(shutil.copyfile(self._real(self.path / name), folder / name))

    def _real(self, path: Path) -> Path:
        """Return a path without links, so that what is read is what was looked at."""
        if leads_out(path, self.root):
            what = "the folder" if path == self.path else path.name
            message = f"{self.where}: {what} is a link that leads out of the volume; put the files themselves there"
            raise SourceError(SourceProblem.INVALID, message, self.field)
        return Path(os.path.realpath(path))


@contextmanager
def mounted_adapter(directory: AdapterDirectory) -> Iterator[MountedAdapter]:
    """Yield the adapter in a folder of a mounted claim.

    Raises:
        SourceError: it can't be read.
    """
    path = Path(directory.path)
    root = mounted_root(path, directory.path_in_volume)
    try:
        yield MountedAdapter(path, directory.uri, CLAIM_FIELD, root)
    except PermissionError as error:
        message = f"{directory.uri} may not be read by user {os.getuid()} ({error}); make it readable for others"
        raise SourceError(SourceProblem.FORBIDDEN, message, CLAIM_FIELD) from error
    except FileNotFoundError as error:
        message = f"{directory.uri}: {error}; a link to a file that is not there, or it is being written"
        raise SourceError(SourceProblem.NOT_FOUND, message, CLAIM_FIELD) from error


def _raise(error: OSError) -> None:
    raise error
