"""Weights that are not finite are found in every floating-point dtype."""

import math
import random
import struct

import pytest

from graft_serving.adapters.finiteness import CHUNK_BYTES, may_hold_non_finite

FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e"}
BAD = (math.nan, -math.nan, math.inf, -math.inf)


def packed(dtype: str, value: float) -> bytes:
    # A bfloat16 is the upper half of a float32.
    return struct.pack("<f", value)[2:] if dtype == "BF16" else struct.pack(FORMATS[dtype], value)


@pytest.mark.parametrize("dtype", [*FORMATS, "BF16"])
@pytest.mark.parametrize("bad", BAD)
def test_one_bad_number_among_good_ones_is_found(dtype: str, bad: float) -> None:
    good = packed(dtype, 1.5) + packed(dtype, -60000.0) + packed(dtype, 0.0)
    data = b"head" + good * 3 + packed(dtype, bad) + good
    assert may_hold_non_finite(dtype, data, 4, len(data))
    assert not may_hold_non_finite(dtype, data, 4, 4 + len(good) * 3)


def test_a_bad_number_at_the_end_of_a_large_tensor_is_found() -> None:
    data = bytearray(CHUNK_BYTES + 8)
    assert not may_hold_non_finite("F32", bytes(data), 0, len(data))
    data[-4:] = packed("F32", math.nan)
    assert may_hold_non_finite("F32", bytes(data), 0, len(data))


def test_usual_weights_pass() -> None:
    chance = random.Random(7)
    for dtype, kind in FORMATS.items():
        data = b"".join(struct.pack(kind, chance.gauss(0, 10)) for _ in range(10_000))
        assert not may_hold_non_finite(dtype, data, 0, len(data))


def test_integers_are_not_judged() -> None:
    assert not may_hold_non_finite("I32", b"\xff" * 8, 0, 8)
