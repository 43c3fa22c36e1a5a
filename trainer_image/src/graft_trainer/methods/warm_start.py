"""Begins a training with the weights of an older version of the adapter, on a base that has moved on since."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from graft_registry.errors import Corrupt, NotFound
from graft_registry.versions import AdapterRegistry
from graft_trainer.config import Objective, WarmStartConfig
from graft_trainer.outcome import BaseMismatchError, InvalidConfigError
from graft_trainer.training.checkpoint import ADAPTER_FILES

logger = logging.getLogger(__name__)

FIELD = "spec.baseModelRef"
TO_TRAIN_COLD = "set readaptation.strategy of the BaseModel to Cold to train from nothing"
REFERENCE_FIELD = "spec.training.preference.referenceVersion"
TO_NAME_ANOTHER = "name a version of the same method, rank and layers, or none"


def begin_with_version(
    model: PeftModel,
    start: WarmStartConfig,
    registry: AdapterRegistry,
    work_folder: Path,
    *,
    objective: Objective = "SFT",
) -> None:
    """Replace the weights of a fresh adapter by those of an older version, fetched by its digest and verified.

    For ``objective`` SFT the operator has chosen it, for others the spec names it.

    Raises InvalidConfigError where the version is gone or damaged, BaseMismatchError where it doesn't fit the adapter
    that belongs on this base, and the registry's errors where that is away.
    """
    weights_file = ADAPTER_FILES[1]
    field, remedy = (FIELD, TO_TRAIN_COLD) if objective == "SFT" else (REFERENCE_FIELD, TO_NAME_ANOTHER)
    with tempfile.TemporaryDirectory(dir=work_folder) as folder:
        path = Path(folder) / weights_file
        try:
            registry.fetch_file(registry.read(start.number, start.manifest_digest), weights_file, path)
        except (NotFound, Corrupt) as error:
            raise InvalidConfigError(
                f"cannot begin with version {start.number}: {error}; {remedy}", field=field
            ) from error
        weights = load_file(path)
    misfit = first_misfit(get_peft_model_state_dict(model), weights)
    if misfit is not None:
        raise BaseMismatchError(f"cannot begin with version {start.number}: {misfit}; {remedy}", field=field)
    set_peft_model_state_dict(model, weights)
    logger.info("warm start from version %d: %d tensors", start.number, len(weights))


def first_misfit(fresh: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> str | None:
    """Return why older weights don't fit a fresh adapter; None where each tensor has its place and shape."""
    for name in sorted(fresh.keys() | weights.keys()):
        if name not in weights:
            return f"it has no {name}, which this base asks for"
        if name not in fresh:
            return f"it has {name}, for which this base has no place"
        if fresh[name].shape != weights[name].shape:
            return f"{name} is {list(weights[name].shape)}, this base asks for {list(fresh[name].shape)}"
    return None
