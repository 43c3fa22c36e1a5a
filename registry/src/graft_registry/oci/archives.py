"""Layers as files on disk: which are archives, what is in them, and single files out of them.

Nothing is ever unpacked: members are read one by one, and whoever calls chooses names for what is written. So no link,
owner, mode or path of an archive takes effect. What one may make the reader do is bounded: bytes, members, headers.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

import zstandard

from graft_registry.errors import InvalidArtifact

UNPACKED_BYTES: Final = 64 << 30
"""Layers that unpack to more, one or all together, are no adapter's, but a bomb."""
MOST_MEMBERS: Final = 100_000
_LONGEST_NAME: Final = 1024
_LARGEST_READ: Final = 1 << 20
"""tarfile reads the headers of long names at once, whatever length they claim."""
_BLOCK: Final = 512
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""The beginning of a frame that decompression passes over: pzstd writes one first, with the length of what follows."""
_BROKEN: Final = (
    tarfile.TarError,
    zlib.error,
    zstandard.ZstdError,
    gzip.BadGzipFile,
    EOFError,
    # What tarfile stumbles over in headers that nobody wrote by accident.
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
)


class Kind(Enum):
    """What a member of an archive is."""

    FILE = "file"
    LINK = "link"
    """To another path of the artifact."""
    HARD_LINK = "hard link"
    """To an earlier member of the same archive."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: ``position`` counts the archive's headers; ``target`` is what a link leads to.

    ``end``: how much of the archive has to be unpacked to get past it, which for sparse files is less than their size.
    """

    name: str
    kind: Kind
    size: int
    position: int
    target: str = ""
    end: int = 0


def is_archive(layer: Path) -> bool:
    """Return whether a file is a tar archive, compressed or not.

    Raises:
        InvalidArtifact: it is compressed, and damaged.
    """
    with _readable(layer) as stream:
        block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        return False
    if block.count(0) == _BLOCK:
        return True
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(layer: Path) -> Iterator[Member]:
    """Yield what an archive holds.

    Raises:
        InvalidArtifact: it is damaged, or beyond the bounds.
    """
    with _tar(layer) as archive:
        for position, entry in enumerate(_entries(archive)):
            if position >= MOST_MEMBERS:
                raise InvalidArtifact(f"{layer.name}: more than {MOST_MEMBERS} files in one layer")
            if len(entry.name) > _LONGEST_NAME or len(entry.linkname) > _LONGEST_NAME:
                raise InvalidArtifact(f"{layer.name}: a path of more than {_LONGEST_NAME} characters")
            yield Member(entry.name, _kind(entry), entry.size, position, entry.linkname, archive.offset)


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (entry := archive.next()) is not None:
        yield entry


def _kind(entry: tarfile.TarInfo) -> Kind:
    if entry.isfile() and not entry.issparse():
        return Kind.FILE
    if entry.issym():
        return Kind.LINK
    return Kind.HARD_LINK if entry.islnk() else Kind.OTHER


def copy_members(layer: Path, wanted: dict[int, Path]) -> None:
    """Write the members at some positions to files of the caller's choice, in one pass.

    No more is written than ``members`` has said that they have: whoever calls has to have held that to a bound.

    Raises:
        InvalidArtifact: the archive is damaged, or beyond the bounds.
    """
    with _tar(layer) as archive:
        for position, entry in enumerate(_entries(archive)):
            if position in wanted and (source := archive.extractfile(entry)) is not None:
                with source, wanted[position].open("wb") as sink:
                    while piece := source.read(_LARGEST_READ):
                        sink.write(piece)
            if position >= max(wanted):
                return


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextmanager
def _tar(layer: Path) -> Iterator[tarfile.TarFile]:
    with _readable(layer) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        yield archive


@contextmanager
def _damage_explained(layer: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise InvalidArtifact(f"{layer.name}: the archive is damaged: {error}") from error


@contextmanager
def _readable(layer: Path) -> Iterator["_Bounded"]:
    """Yield a layer's content, uncompressed."""
    with ExitStack() as stack:
        stack.enter_context(_damage_explained(layer))
        raw = stack.enter_context(layer.open("rb"))
        beginning = raw.read(4)
        raw.seek(0)
        stream: _Source = raw
        if beginning[:2] == b"\x1f\x8b":
            stream = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
        elif beginning == _ZSTANDARD or _SKIPPABLE.fullmatch(beginning):
            stream = stack.enter_context(
                closing(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
            )
        yield _Bounded(stream, layer.name)


class _Bounded(io.RawIOBase):
    """Reads on and never back, and neither more nor at once more than the bounds. What tarfile needs of a file."""

    def __init__(self, source: _Source, name: str) -> None:
        super().__init__()
        self._source = source
        self._layer = name
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise InvalidArtifact(f"{self._layer}: a header of {size} bytes, at most {_LARGEST_READ} are read")
        pieces = []
        while size > 0 and (piece := self._source.read(size)):
            pieces.append(piece)
            size -= len(piece)
        content = b"".join(pieces)
        self._position += len(content)
        if self._position > UNPACKED_BYTES:
            raise InvalidArtifact(f"{self._layer}: unpacks to more than {UNPACKED_BYTES >> 30} GiB")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        ahead = offset - self._position
        if whence != io.SEEK_SET or ahead < 0:
            raise io.UnsupportedOperation("archives are read on and never back")
        while ahead > 0 and (piece := self.read(min(ahead, _LARGEST_READ))):
            ahead -= len(piece)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
