"""Fetches the files of a foreign adapter, and reads its configuration and headers; does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graft_registry.adapters.publishable import ADAPTER_CONFIG
from graft_registry.config import RegistryConfig
from graft_registry.documents import ImportedFrom
from graft_registry.errors import InvalidModel
from graft_registry.models.safetensors_header import TensorInfo, read_header
from graft_registry.sources.adapter_origins import AdapterContent, fetch_adapter
from graft_registry.sources.adapter_sizes import LARGEST_CONFIG_BYTES
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem
from graft_trainer.config import AdapterSourceConfig
from graft_trainer.importing.settings import AdapterSettings, read_settings
from graft_trainer.importing.tensor_names import check_headers
from graft_trainer.importing.wording import shown
from graft_trainer.outcome import (
    ForbiddenSourceError,
    InvalidSourceError,
    MissingSourceError,
    TrainingError,
    UnavailableSourceError,
)

FIELD: Final = "spec.source"
HEADER_BYTES: Final = 16 << 20
"""Bound of the headers of all files together. Reading them takes ten times as much memory. An adapter of every expert
of a model with 94 layers of 128 experts has 10 MB."""
LFS_POINTER: Final = b"version https://git-lfs.github.com"

PROBLEMS: Final[dict[SourceProblem, type[TrainingError]]] = {
    SourceProblem.NOT_FOUND: MissingSourceError,
    SourceProblem.INVALID: InvalidSourceError,
    SourceProblem.ADAPTER_FORBIDDEN: ForbiddenSourceError,
    SourceProblem.ADAPTER_UNAVAILABLE: UnavailableSourceError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignAdapter:
    """An adapter as somebody else has saved it."""

    settings: AdapterSettings
    weights: tuple[Path, ...]
    tensors: tuple[TensorInfo, ...]
    """Of all files together."""
    provenance: ImportedFrom


def fetch_foreign_adapter(
    asked: AdapterSourceConfig, registry: RegistryConfig, folder: Path, environ: Mapping[str, str]
) -> ForeignAdapter:
    """Fetch the adapter into ``folder`` and read its configuration and the headers of its weights.

    Raises MissingSourceError, ForbiddenSourceError, UnavailableSourceError and InvalidSourceError.
    """
    try:
        content = fetch_adapter(asked.source, SourceAccess.from_environment(environ), registry, folder)
    except SourceError as error:
        raise PROBLEMS[error.reason](f"{error}; check {error.field}", field=error.field) from error
    if asked.digest is not None and content.digest != asked.digest:
        raise InvalidSourceError(
            f"the source holds {content.digest}, but the run is for {asked.digest}: it has changed meanwhile, and is "
            "imported anew once the operator has seen it",
            field=FIELD,
        )
    weights = tuple(folder / name for name in content.files if name != ADAPTER_CONFIG)
    settings = read_settings(_text(folder / ADAPTER_CONFIG))
    tensors = _headers(weights)
    check_headers(tensors)
    return ForeignAdapter(
        settings=settings,
        weights=weights,
        tensors=tensors,
        provenance=_provenance(asked, content, settings),
    )


def _provenance(asked: AdapterSourceConfig, content: AdapterContent, settings: AdapterSettings) -> ImportedFrom:
    return ImportedFrom(
        source=asked.source,
        revision=content.revision,
        digest=content.digest,
        base_model_name_or_path=settings.base_model_name_or_path,
    )


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST_CONFIG_BYTES:
        raise InvalidSourceError(
            f"{path.name} has more than {LARGEST_CONFIG_BYTES} bytes; PEFT's have a few kB", field=FIELD
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSourceError(f"{path.name} is no text ({error}); copy the adapter again", field=FIELD) from error


def _headers(paths: Sequence[Path]) -> tuple[TensorInfo, ...]:
    total = sum(map(_header_bytes, paths))
    if total > HEADER_BYTES:
        raise InvalidSourceError(
            f"the headers of the weights have {total} bytes, at most {HEADER_BYTES} are read: they name far more "
            "tensors than an adapter has; save the adapter alone",
            field=FIELD,
        )
    return tuple(tensor for path in paths for tensor in _header(path))


def _header_bytes(path: Path) -> int:
    """Return how long a file says that its header is; 0 where that can't be, which is refused when it is read."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    return length if length < path.stat().st_size else 0


def _header(path: Path) -> tuple[TensorInfo, ...]:
    try:
        return read_header(path).tensors
    except InvalidModel as error:
        with path.open("rb") as stream:
            is_pointer = stream.read(len(LFS_POINTER)) == LFS_POINTER
        why = (
            "it is a pointer of Git LFS; run git lfs pull and copy it again"
            if is_pointer
            else f"{shown(error)}; copy it again"
        )
        raise InvalidSourceError(f"{path.name} is not a safetensors file: {why}", field=FIELD) from error
