"""What must hold before a version is loaded. The engine itself checks little: it takes an adapter of any base."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from graft_registry.adapters.compatibility import check_version
from graft_registry.adapters.publishable import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from graft_registry.documents import BaseManifest, VersionManifest
from graft_registry.errors import InvalidModel
from graft_registry.models.safetensors_header import SafetensorsHeader, read_header
from graft_serving.adapters.finiteness import first_non_finite_tensor
from graft_serving.errors import RefusedError

MAX_CONFIG_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 1024 * 1024
"""For any base, and for each of its linear modules so much more: its name in the configuration's patterns, and two
tensors with their names. Parsing holds the interpreter's lock, so an absurd file would keep the requests of all others
waiting; an adapter of every expert in 94 layers of 128 needs 10 MB all the same."""
CONFIG_BYTES_PER_MODULE: Final = 256
HEADER_BYTES_PER_MODULE: Final = 512
_LENGTH_BYTES: Final = 8


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: Annotated[str, msgspec.Meta(max_length=16)]
    shape: Annotated[list[int], msgspec.Meta(max_length=16)]
    data_offsets: tuple[int, int]


def version_check(base: BaseManifest, *, max_rank: int) -> Callable[[Path, VersionManifest], None]:
    """A check of fetched versions for an engine with this base and `--max-lora-rank`; it raises RefusedError."""

    def check(path: Path, manifest: VersionManifest) -> None:
        try:
            modules = len(base.linear_modules)
            config = _read_config(path / ADAPTER_CONFIG, MAX_CONFIG_BYTES + modules * CONFIG_BYTES_PER_MODULE)
            header = _read_header(path / ADAPTER_WEIGHTS, MAX_HEADER_BYTES + modules * HEADER_BYTES_PER_MODULE)
            refusal = check_version(manifest, config, header.tensors, base, max_rank=max_rank)
            if refusal is not None:
                raise RefusedError(refusal.reason, refusal.message)
            not_finite = first_non_finite_tensor(path / ADAPTER_WEIGHTS, header)
        except (FileNotFoundError, ValueError, RecursionError, InvalidModel) as error:
            raise RefusedError("InvalidAdapter", f"the adapter's files can't be read: {error}") from error
        if not_finite is not None:
            raise RefusedError(
                "NotFinite", f"the weights of {not_finite} are not finite: the training diverged; train a new version"
            )

    return check


def _read_config(path: Path, most_bytes: int) -> dict[str, Any]:
    size = path.stat().st_size
    if size > most_bytes:
        raise ValueError(f"{path.name} has {size} bytes, at most {most_bytes} are read")
    config = json.loads(path.read_bytes())
    if not isinstance(config, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return config


def _read_header(path: Path, most_bytes: int) -> SafetensorsHeader:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if length <= most_bytes:
            _refuse_other_shapes(stream.read(length))
    return read_header(path, max_bytes=most_bytes)


def _refuse_other_shapes(header: bytes) -> None:
    """Raise ValueError for JSON that no header can be, without building it: a parser needs 40 times its size for that.

    One that is not JSON at all is left to the parser, which says better what is wrong.
    """
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return
    for name, entry in entries.items():
        try:
            if name == "__metadata__":
                msgspec.json.decode(entry, type=dict[str, str])
            else:
                _TENSOR.decode(entry)
        except msgspec.ValidationError as error:
            raise ValueError(f"the header's entry {name[:100]!r} describes no tensor: {error}") from error


_TENSOR: Final = msgspec.json.Decoder(_Tensor)
