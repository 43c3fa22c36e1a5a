"""Checks that the mounted base is the one that the run was made for, before anything heavy starts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from pydantic import ValidationError

from graft_registry.documents import BaseManifest
from graft_trainer.config import BaseReference, ServingConfig
from graft_trainer.methods.table import Method
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


DEQUANTIZABLE = ("fp8", "mxfp4")
"""Quantization methods whose weights the trainer turns back into full precision while it loads them."""


def check_trainable(base: BaseManifest, method: Method) -> None:
    """Refuse a base whose weights are stored in a way that nothing can be trained on.

    Raises BaseMismatchError, and InvalidConfigError for a method that would quantize what is quantized already.
    """
    check_dequantizable(base, "adapters can't be trained on", "with method QLoRA where memory is short")
    kind = quantization_of(base)
    if kind is not None and method.quantized:
        raise InvalidConfigError(
            f"spec.method: base {base.name} is stored quantized ({kind}) and can't be quantized once more; use method "
            "LoRA, which trains on its weights at full precision, or a base that is stored so",
            field="spec.method",
        )


def quantization_of(base: BaseManifest) -> str | None:
    """Return the method by which the base's stored weights are quantized, such as ``fp8``; None where they aren't."""
    quantization = base.fingerprint.quantization
    return None if quantization is None else str(quantization.get("quant_method", "quantized"))


def check_dequantizable(base: BaseManifest, drawback: str, hint: str = "") -> None:
    """Refuse a base whose weights are quantized in a way that the trainer can't undo.

    The message says of it that it is one "which ``drawback``"; ``hint`` is added to its remedy.
    Raises BaseMismatchError.
    """
    kind = quantization_of(base)
    if kind is not None and kind not in DEQUANTIZABLE:
        raise BaseMismatchError(
            f"base {base.name} is stored quantized ({kind}), which {drawback}; use the full-precision model that it "
            f"was made from{f', {hint}' if hint else ''}",
            field="spec.baseModelRef",
        )


def check_complete(missing: Iterable[str]) -> None:
    """Refuse a base whose files lack some of its weights: Transformers fills those in at random, and only logs it.

    Tied weights are not missing. Files may hold more than the model, such as layers that only speed up serving.
    Raises BaseMismatchError.
    """
    names = sorted(missing)
    if names:
        more = f" and {len(names) - 1} more" if names[1:] else ""
        raise BaseMismatchError(
            f"the base's files lack the weights {names[0]}{more}, which its config.json asks for; give all of its "
            "files, or correct config.json",
            field="spec.baseModelRef",
        )


def check_mergeable(base: BaseManifest, serving: ServingConfig) -> None:
    """Refuse to merge into a base whose own weights are quantized.

    Raises InvalidConfigError.
    """
    kind = quantization_of(base)
    if serving.mode == "Merged" and kind is not None:
        raise InvalidConfigError(
            f"spec.serving.mode: base {base.name} is stored quantized ({kind}), and rounding a merged weight to that "
            "again would lose what the adapter learnt; use a full-precision base, or mode MultiAdapter",
            field="spec.serving.mode",
        )


def day_of(base: BaseManifest) -> date:
    """Return the day on which a base was imported: chat templates that write today's date are given this one.

    So every pod of a run, before and after a restart, and every run of the recipe renders the same prompts.
    """
    return datetime.fromisoformat(base.created_time).date()
