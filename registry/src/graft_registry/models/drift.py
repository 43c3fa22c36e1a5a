"""What a new revision of a base means to the adapters of the one before: how far it has moved, and the verdict."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from graft_registry.bases import BaseRegistry
from graft_registry.documents import BaseDrift, BaseManifest, DriftVerdict, StoredFile, timestamp
from graft_registry.errors import Corrupt, InvalidModel, NotFound
from graft_registry.models.layer_paths import LayerPaths
from graft_registry.models.weight_change import relative_change, stored_tensors
from graft_registry.verification import verify_files

log = logging.getLogger(__name__)

NEAR_CHANGE: Final = 0.5
"""Mean relative change of the weights up to which an adapter is worth starting from.

A base that was pretrained a third longer moved by 0.15, and an adapter that was warm-started on it for one epoch beat
one that was trained for three from nothing. Independent weights are √2 apart, and a warm start between them was worth
little. 0.5 lies between; whatever starts warm still has to pass the gate.
"""

_SHAPE_FIELDS: Final = (
    "architecture",
    "layers",
    "attention_heads",
    "key_value_heads",
    "head_dim",
    "vocab_size",
    "shapes_digest",
)


def classify(previous: BaseManifest, current: BaseManifest, change: float | None) -> DriftVerdict:
    """Return what became of a base. Pure.

    Args:
        previous: the base before.
        current: the base now.
        change: mean relative change of the weights; None where it was not measured.
    """
    if previous.digest == current.digest:
        return "Equal"
    if change is None or not shapes_agree(previous, current) or change > NEAR_CHANGE:
        return "Different"
    before, now = previous.fingerprint, current.fingerprint
    texts_differ = (before.tokenizer_digest, before.chat_template_digest) != (
        now.tokenizer_digest,
        now.chat_template_digest,
    )
    return "TokenizerOnly" if change == 0.0 and texts_differ else "Near"


def shapes_agree(previous: BaseManifest, current: BaseManifest) -> bool:
    """Return whether every tensor of one fits in the place of the other's. Pure."""
    before, now = previous.fingerprint, current.fingerprint
    return all(getattr(before, name) == getattr(now, name) for name in _SHAPE_FIELDS)


def compare(
    registry: BaseRegistry,
    previous: BaseManifest,
    current: BaseManifest,
    directory: Path,
    *,
    previous_mount: Path | None,
    workspace: Path,
) -> BaseDrift | None:
    """Measure how far a base is from the one before; None where the files of that one can't be had any more.

    Args:
        registry: of the base.
        previous: the base before.
        current: the base now.
        directory: with the files of ``current``.
        previous_mount: the directory of ``previous`` where its files are in a claim that is mounted here.
        workspace: with room for one weight file of ``previous``.

    Raises:
        RegistryError: the registry is away.
    """
    change: float | None = None
    if shapes_agree(previous, current):
        try:
            change = _mean_change(
                previous, current, directory, _previous_weights(registry, previous, previous_mount, workspace)
            )
        except (NotFound, Corrupt, InvalidModel) as error:
            log.warning("drift not measured previous=%s digest=%s: %s", previous.digest, current.digest, error)
            return None
    verdict = classify(previous, current, change)
    log.info("drift previous=%s digest=%s verdict=%s change=%s", previous.digest, current.digest, verdict, change)
    return BaseDrift(
        previous=previous.digest,
        digest=current.digest,
        verdict=verdict,
        relative_change=change,
        created_time=timestamp(),
    )


def _mean_change(
    previous: BaseManifest, current: BaseManifest, directory: Path, previous_weights: Iterator[Path]
) -> float:
    """Average over the linear weights of the layers; embeddings and output layer, of another scale, are left out."""
    if previous.weights_digest == current.weights_digest:
        return 0.0
    new = stored_tensors(directory / file.path for file in weight_files(current))
    paths = LayerPaths.find(new, current.fingerprint.architecture, wrapped=False)
    layers = [name for name, tensor in new.items() if paths.is_block_weight(name) and len(tensor.info.shape) == 2]
    changes: dict[str, float] = {}
    for path in previous_weights:
        old = stored_tensors([path])
        changes |= {name: relative_change(old[name], new[name]) for name in layers if name in old}
    missing = next((name for name in layers if name not in changes), None)
    if missing is not None:
        raise InvalidModel(f"{missing} is in no file of the base before")
    return round(sum(changes.values()) / len(changes), 6)


def _previous_weights(
    registry: BaseRegistry, previous: BaseManifest, mount: Path | None, workspace: Path
) -> Iterator[Path]:
    """Yield one verified weight file after the other; what was downloaded is deleted before the next one comes."""
    for file in weight_files(previous):
        if previous.location.registry:
            path = workspace / file.path
            registry.fetch_file(file, path)
            yield path
            path.unlink()
        elif mount is None:
            raise NotFound(f"{file.path} of base {previous.digest} is in a claim that is not mounted here")
        else:
            verify_files([file], mount)
            yield mount / file.path


def weight_files(manifest: BaseManifest) -> list[StoredFile]:
    """Return the files of a base that hold weights. Pure."""
    return [file for file in manifest.files if file.path.endswith(".safetensors")]
