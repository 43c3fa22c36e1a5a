"""Archives from strangers: they are read, or refused in words, whatever is in them."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft_registry.errors import InvalidArtifact
from graft_registry.oci.archives import Kind, copy_members, is_archive, members


def archive(format: int) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as made:
        for name, data in (("a/" + "long" * 50 + ".json", b"{}"), ("b.safetensors", bytes(range(256)) * 3)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("c")
        link.type, link.linkname = tarfile.SYMTYPE, "b.safetensors"
        made.addfile(link)
    return buffer.getvalue()


FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "two zstd frames": lambda data: b"".join(zstandard.ZstdCompressor().compress(p) for p in (data[:700], data[700:])),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("format", FORMATS)
def test_archives_are_read_however_they_are_compressed(format: str, compression: str, tmp_path: Path) -> None:  # noqa: A002
    layer = tmp_path / "layer"
    layer.write_bytes(COMPRESSIONS[compression](archive(FORMATS[format])))
    assert is_archive(layer)
    found = list(members(layer))
    assert [(item.kind, item.size) for item in found] == [(Kind.FILE, 2), (Kind.FILE, 768), (Kind.LINK, 0)]
    copy_members(layer, {1: tmp_path / "weights", 0: tmp_path / "settings"})
    assert (tmp_path / "weights").read_bytes() == bytes(range(256)) * 3
    assert (tmp_path / "settings").read_bytes() == b"{}"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"a": 1}' * 200, bytes(511), b"\x20" * 4096, gzip.compress(b"{}", mtime=0), b"GGUF" + bytes(2000)],
)
def test_files_are_not_taken_for_archives(content: bytes, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.write_bytes(content)
    assert not is_archive(layer)


def pax(records: dict[str, str]) -> bytes:
    entry = tarfile.TarInfo("x")
    entry.pax_headers = records
    return entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


def backwards() -> bytes:
    """A member that says it has less than nothing in it, so that the next one is before it."""
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 8 + (-1024).to_bytes(4, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(2048)


def endless_headers() -> bytes:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    return (header.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 3000


@pytest.mark.parametrize(
    "content",
    [
        pax({"GNU.sparse.map": "a,b,c", "GNU.sparse.size": "-1"}),
        pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"}),
        pax({"size": "-5"}),
        backwards(),
        endless_headers(),
    ],
    ids=["sparse map", "sparse version", "negative size", "backwards", "endless headers"],
)
def test_headers_that_nobody_writes_by_accident(content: bytes, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.write_bytes(content)
    read_or_refused(layer)


WHOLE = [make(archive(kind)) for kind in FORMATS.values() for make in COMPRESSIONS.values()]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    whole=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    length=st.integers(0, 10_000),
)
def test_damaged_archives_are_refused_in_words(
    whole: bytes, changes: list[tuple[int, int]], length: int, tmp_path: Path
) -> None:
    content = bytearray(whole)
    for position, value in changes:
        content[position % len(content)] = value
    layer = tmp_path / "layer"
    layer.write_bytes(bytes(content[: max(1, length)]))
    read_or_refused(layer)


def read_or_refused(layer: Path) -> None:
    """Fail on any other error than the one that people are told in words."""
    with contextlib.suppress(InvalidArtifact):
        if is_archive(layer) and (found := [item for item in members(layer) if item.kind is Kind.FILE]):
            copy_members(layer, {found[0].position: layer.with_name("copy")})
