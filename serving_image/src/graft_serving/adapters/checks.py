"""What must hold before a version is loaded. The engine itself checks little: it takes an adapter of any base."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graft_registry.compatibility import check_version
from graft_registry.documents import BaseManifest, VersionManifest
from graft_registry.errors import InvalidModel
from graft_registry.publishable import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from graft_registry.safetensors_header import read_header
from graft_serving.adapters.finiteness import first_non_finite_tensor
from graft_serving.errors import RefusedError

MAX_CONFIG_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""An adapter of every expert in 94 layers of 128 needs 10 MB. Parsing holds the interpreter's lock, so an absurd file
would keep the requests of all the others waiting."""


def version_check(base: BaseManifest, *, max_rank: int) -> Callable[[Path, VersionManifest], None]:
    """A check of fetched versions for an engine with this base and `--max-lora-rank`; it raises RefusedError."""

    def check(path: Path, manifest: VersionManifest) -> None:
        try:
            config = _read_config(path / ADAPTER_CONFIG)
            header = read_header(path / ADAPTER_WEIGHTS, max_bytes=MAX_HEADER_BYTES)
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


def _read_config(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} has {size} bytes, at most {MAX_CONFIG_BYTES} are read")
    config = json.loads(path.read_bytes())
    if not isinstance(config, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return config
