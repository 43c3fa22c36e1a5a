"""Compressed bodies: the same bytes come out however they are cut, and no step makes or takes much."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.api.unfolding import MOST_UNFOLDED, Unfolding

TEXT = b'{"model":"support","prompt":"hello"}' * 100


def bare(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


def unfolded(encoding: str, packed: bytes, size: int) -> bytes:
    unfolding = Unfolding(encoding)
    pieces = [
        piece for start in range(0, len(packed), size) for piece in unfolding.pieces_of(packed[start : start + size])
    ]
    return b"".join((*pieces, unfolding.end()))


PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "two gzip files": ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate as many send it": ("deflate", bare(TEXT)),
}


@pytest.mark.parametrize(("encoding", "packed"), PACKED.values(), ids=PACKED.keys())
@given(size=st.integers(1, 10_000))
def test_what_was_packed_comes_out(encoding: str, packed: bytes, size: int) -> None:
    assert unfolded(encoding, packed, size) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_nothing_stays_nothing(encoding: str) -> None:
    assert unfolded(encoding, b"", 1) == b""


BROKEN = {
    "no gzip": ("gzip", TEXT),
    "no deflate": ("deflate", b"\xff" * 100),
    "cut short": ("gzip", gzip.compress(TEXT)[:-5]),
    "deflate that is cut short": ("deflate", zlib.compress(TEXT)[:-5]),
    "a wrong checksum": ("gzip", gzip.compress(TEXT)[:-8] + b"\0" * 8),
    "junk behind gzip": ("gzip", gzip.compress(TEXT) + b"junk"),
    "junk behind deflate": ("deflate", zlib.compress(TEXT) + b"junk"),
}


@pytest.mark.parametrize(("encoding", "packed"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_what_is_broken_is_an_error(encoding: str, packed: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unfolded(encoding, packed, size)


def test_much_comes_out_a_little_at_a_time() -> None:
    packed = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    size = 0
    for piece in Unfolding("gzip").pieces_of(packed):
        assert len(piece) <= MOST_UNFOLDED
        size += len(piece)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 50_000_000
    assert most < 10 * MOST_UNFOLDED


def test_a_body_of_many_small_files_is_one_step_for_each() -> None:
    packed = gzip.compress(b"") * 10_000
    assert sum(1 for _ in Unfolding("gzip").pieces_of(packed)) >= 10_000
