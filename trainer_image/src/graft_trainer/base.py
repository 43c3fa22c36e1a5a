"""Checks that the mounted base is the one that the run was made for, before anything heavy starts."""

from __future__ import annotations

from pydantic import ValidationError

from graft_registry.documents import BaseManifest
from graft_trainer.config import BaseReference, ServingConfig
from graft_trainer.outcome import BaseMismatchError, InvalidConfigError

MANIFEST_PATH = ".graft/base.json"
"""Where the init container leaves the manifest of the base, below its folder."""


def check_base(reference: BaseReference) -> BaseManifest:
    """Return the manifest of the mounted base.

    The init container has verified every file against it.
    Raises BaseMismatchError where it is missing, unreadable or of another base than the run's.
    """
    path = reference.path / MANIFEST_PATH
    try:
        manifest = BaseManifest.from_bytes(path.read_bytes())
    except OSError as error:
        raise BaseMismatchError(
            f"cannot read {path} ({error}); the base {reference.name} was not fetched", field="spec.baseModelRef"
        ) from error
    except ValidationError as error:
        raise BaseMismatchError(f"{path} is not a base manifest: {error}", field="spec.baseModelRef") from error
    if manifest.digest != reference.digest:
        raise BaseMismatchError(
            f"the run is for base {reference.name} {reference.digest} but {reference.path} holds {manifest.name} "
            f"{manifest.digest}; an adapter trained on it would not fit. Wait for the BaseModel to resolve",
            field="spec.baseModelRef",
        )
    return manifest


def check_mergeable(base: BaseManifest, serving: ServingConfig) -> None:
    """Refuse to merge into a base whose own weights are quantized.

    Raises InvalidConfigError.
    """
    quantization = base.fingerprint.quantization
    if serving.mode == "Merged" and quantization is not None:
        kind = quantization.get("quant_method", "quantized")
        raise InvalidConfigError(
            f"spec.serving.mode: base {base.name} is stored quantized ({kind}), and rounding a merged weight to that "
            "again would lose what the adapter learnt; use a full-precision base, or mode MultiAdapter",
            field="spec.serving.mode",
        )
