"""How far the weights of two models are apart, streamed from safetensors files without torch.

Memory stays at a few chunks whatever the size of the model: files are mapped, and read once from front to back.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from graft_registry.errors import InvalidModel
from graft_registry.models.safetensors_header import TensorInfo, read_header

_CHUNK: Final = 1 << 20
"""Elements that are compared at a time: 4 MiB as float32, which stays in the cache of a core."""

_STORED_AS: Final[Mapping[str, str]] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
"""numpy has no bfloat16: its bits are the upper half of a float32's."""

_ALL_NEW: Final = 2**0.5
"""The relative change between independent weights of one scale; also counted for a layer that was all zeros before."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file. ``data_start``: the byte of the file from which its offsets count."""

    path: Path
    data_start: int
    info: TensorInfo


def stored_tensors(paths: Iterable[Path]) -> dict[str, StoredTensor]:
    """Return every tensor of some safetensors files by its name.

    Raises:
        InvalidModel: not a valid safetensors file.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        header = read_header(path)
        tensors |= {info.name: StoredTensor(path, header.data_start, info) for info in header.tensors}
    return tensors


def relative_change(old: StoredTensor, new: StoredTensor) -> float:
    """Return ``‖new - old‖ / ‖old‖`` in the Frobenius norm, 0 for equal weights, about √2 for independent ones.

    The two may be stored in different number formats.

    Raises:
        InvalidModel: the shapes differ, a number format can't be read, or a weight isn't a finite number.
    """
    if old.info.shape != new.info.shape:
        raise InvalidModel(f"{old.info.name} is {list(new.info.shape)}, was {list(old.info.shape)}")
    size = moved = 0.0
    for before, after in zip(_chunks(old), _chunks(new), strict=True):
        size += float(np.dot(before, before))
        after -= before
        moved += float(np.dot(after, after))
    if not np.isfinite(size + moved):
        raise InvalidModel(f"{old.info.name} has weights that are not finite numbers")
    if size == 0.0:
        return _ALL_NEW if moved else 0.0
    return float((moved / size) ** 0.5)


def _chunks(tensor: StoredTensor) -> Iterator[NDArray[np.float32]]:
    """Yield the elements as float32 in new arrays, ``_CHUNK`` at a time."""
    stored_as = _STORED_AS.get(tensor.info.dtype)
    if stored_as is None:
        raise InvalidModel(f"{tensor.info.name} is stored as {tensor.info.dtype}, which can't be compared")
    begin, end = tensor.info.offsets
    if begin == end:
        return
    place = tensor.data_start + begin
    count = (end - begin) // np.dtype(stored_as).itemsize
    elements = np.memmap(tensor.path, dtype=stored_as, mode="r", offset=place, shape=(count,))
    for start in range(0, count, _CHUNK):
        chunk = elements[start : start + _CHUNK]
        if tensor.info.dtype == "BF16":
            yield (chunk.astype(np.uint32) << 16).view(np.float32)
        else:
            yield chunk.astype(np.float32)
