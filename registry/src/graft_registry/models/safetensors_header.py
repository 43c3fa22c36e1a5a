"""The header of a safetensors file, checked without touching the tensors and without torch.

Format: 8 bytes little-endian header length N, N bytes of JSON ``{name: {dtype, shape, data_offsets}}``, then the
tensors, back to back. See https://huggingface.co/docs/safetensors/metadata_parsing.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from graft_registry.errors import InvalidModel

MAX_HEADER_BYTES: Final = 100_000_000
"""The reference implementation's bound."""

_LENGTH_BYTES: Final = 8
_MAX_DIMENSIONS: Final = 16
_BITS: Final = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: ``offsets`` are [begin, end) in bytes from the beginning of the data, not of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What a file says about itself. ``data_start`` is the byte at which the tensors' data begins."""

    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str]
    data_start: int


def read_header(path: Path, *, max_bytes: int = MAX_HEADER_BYTES) -> SafetensorsHeader:
    """Read and check the header of a file.

    Args:
        path: of the file.
        max_bytes: that the header may have; a longer one is refused before it is read.

    Raises:
        InvalidModel: not a valid safetensors file, or cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = _header_length(stream.read(_LENGTH_BYTES), size)
        if length > max_bytes:
            raise InvalidModel(f"header of {length} bytes, at most {max_bytes} are read")
        return _parse(stream.read(length), data_bytes=size - _LENGTH_BYTES - length)


def _header_length(prefix: bytes, file_bytes: int) -> int:
    if len(prefix) < _LENGTH_BYTES:
        raise InvalidModel(f"a safetensors file has at least {_LENGTH_BYTES} bytes, this one {file_bytes}")
    length = int.from_bytes(prefix, "little")
    if length > min(MAX_HEADER_BYTES, file_bytes - _LENGTH_BYTES):
        raise InvalidModel(f"header of {length} bytes in a file of {file_bytes}: cut short or not safetensors")
    return length


def _parse(header: bytes, *, data_bytes: int) -> SafetensorsHeader:
    try:
        document = json.loads(header, object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"header is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidModel("header is not a JSON object")
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidModel("__metadata__ must map strings to strings")
    tensors = tuple(_tensor(name, entry) for name, entry in document.items())
    _check_layout(tensors, data_bytes)
    return SafetensorsHeader(tensors, metadata, _LENGTH_BYTES + len(header))


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        [(duplicate, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"duplicate name {duplicate!r}")
    return document


def _tensor(name: str, entry: object) -> TensorInfo:
    if not isinstance(entry, dict):
        raise InvalidModel(f"{name}: not an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise InvalidModel(f"{name}: unknown dtype {dtype!r}")
    if not _is_list_of_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise InvalidModel(f"{name}: shape must be a list of at most {_MAX_DIMENSIONS} sizes")
    if not _is_list_of_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InvalidModel(f"{name}: data_offsets must be [begin, end]")
    begin, end = offsets
    if math.prod(shape) * _BITS[dtype] != (end - begin) * 8:
        raise InvalidModel(f"{name}: {dtype} {shape} doesn't take the {end - begin} bytes of its data_offsets")
    return TensorInfo(name, dtype, tuple(shape), (begin, end))


def _is_list_of_sizes(value: object) -> TypeGuard[list[int]]:
    if not isinstance(value, list):
        return False
    for item in value:  # noqa: SIM110 - a generator would cost more than all else here, twice for every tensor
        if type(item) is not int or item < 0:
            return False
    return True


def _check_layout(tensors: tuple[TensorInfo, ...], data_bytes: int) -> None:
    """Check that the tensors cover the data exactly, back to back, as the format demands."""
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offsets):
        if tensor.offsets[0] != position:
            raise InvalidModel(f"{tensor.name}: begins at {tensor.offsets[0]}, expected {position}")
        position = tensor.offsets[1]
    if position != data_bytes:
        raise InvalidModel(f"tensors take {position} bytes but the file has {data_bytes}: cut short or padded")
