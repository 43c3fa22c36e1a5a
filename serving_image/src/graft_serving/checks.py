"""What must hold before a version is loaded. The engine itself checks little: it takes an adapter of any base."""

import json
from collections.abc import Callable
from pathlib import Path

from graft_registry.compatibility import check_version
from graft_registry.documents import BaseManifest, VersionManifest
from graft_registry.errors import InvalidModel
from graft_registry.publishable import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from graft_registry.safetensors_header import read_header
from graft_serving.errors import RefusedError
from graft_serving.finiteness import first_non_finite_tensor


def version_check(base: BaseManifest, *, max_rank: int) -> Callable[[Path, VersionManifest], None]:
    """A check of fetched versions for an engine with this base and `--max-lora-rank`; it raises RefusedError."""

    def check(path: Path, manifest: VersionManifest) -> None:
        try:
            config = json.loads((path / ADAPTER_CONFIG).read_bytes())
            header = read_header(path / ADAPTER_WEIGHTS)
            refusal = check_version(manifest, config, header.tensors, base, max_rank=max_rank)
            if refusal is not None:
                raise RefusedError(refusal.reason, refusal.message)
            not_finite = first_non_finite_tensor(path / ADAPTER_WEIGHTS, header)
        except (FileNotFoundError, ValueError, TypeError, InvalidModel) as error:
            raise RefusedError("InvalidAdapter", f"the adapter's files can't be read: {error}") from error
        if not_finite is not None:
            raise RefusedError(
                "NotFinite", f"the weights of {not_finite} are not finite: the training diverged; train a new version"
            )

    return check
