"""An adapter in a folder on a disk: of a volume that the platform mounts, or of an artifact that was brought."""

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from graft_registry.documents import AdapterDirectory
from graft_registry.sources.adapter_files import MOST_FILES, few_enough
from graft_registry.sources.adapter_sizes import byte_limit, oversize
from graft_registry.sources.scratch_disk import is_full
from graft_registry.sources.source_files import SourceError, SourceProblem, leads_out, mounted_root, volume_away

CLAIM_FIELD: Final = "spec.source.persistentVolumeClaim.path"
_NO_FILES: Final = frozenset(
    {
        errno.ELOOP,
        errno.ENXIO,
        errno.ENODEV,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EOPNOTSUPP,
    }
)
"""What is said of links in a circle, sockets and the like. All other errors are the volume's, and may pass."""
_FILES_ONLY: Final = "only files are read, no pipes, sockets, devices, folders or links in a circle: put the file there"
_CHUNK_BYTES: Final = 1 << 20


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
        below = (Path(root, name) for root, _, files in os.walk(self.path, onerror=self._unlisted) for name in files)
        found = [path.relative_to(self.path).as_posix() for path in itertools.islice(below, MOST_FILES + 1)]
        return few_enough(found, where=self.where, field=self.field)

    def size(self, name: str) -> int:
        """Return a file's bytes."""
        with self._opened(name) as stream:
            return os.fstat(stream.fileno()).st_size

    def sha256(self, name: str) -> str:
        """Return a file's hash, without a copy of it."""
        with self._opened(name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def bring(self, name: str, folder: Path) -> Path:
        """Copy a file below ``folder`` and return where it is."""
        target, written = folder / name, 0
        with self._opened(name) as stream, target.open("wb") as sink:
            while piece := stream.read(_CHUNK_BYTES):
                written += len(piece)
                # It may have grown since its size was looked at.
                if written > byte_limit(name):
                    raise SourceError(SourceProblem.INVALID, f"{self.where}: {oversize({name: written})}", self.field)
                sink.write(piece)
        return target

    @contextmanager
    def _opened(self, name: str) -> Iterator[BufferedReader]:
        """Open a file to read it. A pipe would be waited for without an end, so it isn't even opened as one."""
        path = self._real(self.path / name)
        with open(path, "rb", opener=lambda at, flags: os.open(at, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise SourceError(SourceProblem.INVALID, f"{self.where}: {name}: {_FILES_ONLY}", self.field)
            yield stream

    def _unlisted(self, error: OSError) -> None:
        """Pass over what can't be listed beside the adapter, such as ``lost+found``: nothing of it is read."""
        if error.filename == os.fspath(self.path):
            raise error

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
    except OSError as error:
        if is_full(error):
            raise
        if error.errno in _NO_FILES:
            raise SourceError(SourceProblem.INVALID, f"{directory.uri}: {error}; {_FILES_ONLY}", CLAIM_FIELD) from error
        raise volume_away(directory.uri, error, CLAIM_FIELD) from error
