"""Finds weights that are not finite in a safetensors file, from its bytes alone: no tensor library needed."""

import mmap
from pathlib import Path

from graft_registry.models.safetensors_header import SafetensorsHeader

CHUNK_BYTES = 1024 * 1024
"""A multiple of every number's size. A search holds the interpreter's lock: between
chunks the requests that are being served get their turn."""

_ENDS_OF_NON_FINITE = {
    # The last byte of a little-endian number is sign and upper exponent. All exponent bits are set in infinities and
    # NaNs; 0x7F and 0xFF also cover finite float32 from 1.7e38 on, which no weight of a usable adapter comes near.
    "F64": (8, (0x7F, 0xFF)),
    "F32": (4, (0x7F, 0xFF)),
    "BF16": (2, (0x7F, 0xFF)),
    "F16": (2, (0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF)),
}


def may_hold_non_finite(dtype: str, data: bytes | mmap.mmap, begin: int, end: int) -> bool:
    """Whether the little-endian numbers of a safetensors dtype in data[begin:end] hold an infinity or a NaN.

    Other dtypes than F16, BF16, F32 and F64 can't be judged here and pass.
    """
    if dtype not in _ENDS_OF_NON_FINITE:
        return False
    size, ends = _ENDS_OF_NON_FINITE[dtype]
    for start in range(begin, end, CHUNK_BYTES):
        last_bytes = data[start : min(start + CHUNK_BYTES, end)][size - 1 :: size]
        for last in ends:
            if last in last_bytes:
                return True
    return False


def first_non_finite_tensor(path: Path, header: SafetensorsHeader) -> str | None:
    """Name the first tensor of a safetensors file that holds weights which are not finite, None if all are."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for tensor in header.tensors:
            begin, end = (header.data_start + offset for offset in tensor.offsets)
            if may_hold_non_finite(tensor.dtype, mapped, begin, end):
                return tensor.name
    return None
