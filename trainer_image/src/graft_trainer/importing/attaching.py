"""Puts an adapter from elsewhere onto the base that it is for: the files of the version, and a model to judge."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers.pytorch_utils import Conv1D

from graft_registry.adapters.compatibility import check_adapter
from graft_registry.documents import BaseManifest, Servable
from graft_registry.models.safetensors_header import TensorInfo, read_header
from graft_trainer import model
from graft_trainer.config import ServingConfig
from graft_trainer.importing.completeness import FIELD
from graft_trainer.importing.copies import without_copies
from graft_trainer.importing.fitting import BaseShapes, Fitted, fit
from graft_trainer.importing.normalised import write_adapter, zeros_of
from graft_trainer.importing.source import ForeignAdapter
from graft_trainer.importing.tensor_names import PARTS
from graft_trainer.importing.wording import some
from graft_trainer.methods.architectures import ENGINE_WITHOUT_ADAPTERS, Layers, layers_of
from graft_trainer.methods.rehearsal import ANY_RANK
from graft_trainer.outcome import BaseMismatchError, InvalidConfigError
from graft_trainer.run import ImportRun
from graft_trainer.training.checkpoint import ADAPTER_FILES

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An adapter whose every tensor was matched to a module or a parameter of the base."""

    fitted: Fitted
    layers: Layers
    transposed: bool
    """Whether the base keeps its weights as [in, out]."""

    @property
    def adapted_share(self) -> float:
        """The part of the base's parameters that are in adapted layers."""
        adapted = sum(weights for path, weights in self.layers.linear.items() if path in self.fitted.adapted)
        return round(adapted / self.layers.total, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """The adapter's files as they are published, and what they are."""

    folder: Path
    servable: Servable
    parameters: int


def place(adapter: ForeignAdapter, base: BaseManifest, path: Path) -> Placed:
    """Find the place of each tensor in the base at ``path``, of which no weights are loaded.

    Raises BaseMismatchError and InvalidSourceError.
    """
    skeleton = model.load_skeleton(path)
    layers = layers_of(skeleton)
    shapes = BaseShapes(
        name=base.name,
        linear=base.linear_modules,
        parameters={
            name: tuple(parameter.shape) for name, parameter in skeleton.named_parameters(remove_duplicate=False)
        },
    )
    return Placed(
        fitted=fit(adapter.tensors, adapter.settings, shapes, zeros=zeros_of(adapter.weights)),
        layers=layers,
        transposed=any(isinstance(module, Conv1D) for module in skeleton.modules()),
    )


def attach(run: ImportRun, placed: Placed) -> tuple[PeftModel, AdapterFiles]:
    """Load the base as it is served, write the adapter's files, and put them onto the base.

    Raises BaseMismatchError, InvalidSourceError, and InvalidConfigError where it could not be served as the run asks.
    """
    path = run.config.base.path
    base = model.load_base(path, dtype=model.compute_dtype(path, "Auto"), offload=True)
    placed = replace(placed, fitted=without_copies(placed.fitted, base, run.adapter, run.base.name))
    folder = run.work_folder / "imported"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_adapter(
        folder,
        placed.fitted,
        run.adapter.settings,
        run.adapter.weights,
        run.base,
        modules={*placed.layers.linear, *placed.layers.elsewhere},
        transposed=placed.transposed,
    )
    servable = servable_as(folder, placed.layers.model_type, run.base, run.config.serving)
    run.notice.stop_if_requested()
    with model.as_base_mismatch("the adapter onto the base", "name the base that it was trained on"):
        adapted = PeftModel.from_pretrained(base, folder)
    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    check_what_was_loaded(state, read_header(folder / ADAPTER_FILES[1]).tensors, run.base.name)
    parameters = sum(tensor.numel() for tensor in state.values())
    return adapted, AdapterFiles(folder=folder, servable=servable, parameters=parameters)


def servable_as(folder: Path, model_type: str, base: BaseManifest, serving: ServingConfig) -> Servable:
    """Return how engines can serve an adapter's files, by the same check that serving pods make before they load it.

    Raises InvalidConfigError where that isn't what the run asks for.
    """
    config = json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    refusal = check_adapter(config, read_header(folder / ADAPTER_FILES[1]).tensors, base, max_rank=ANY_RANK)
    why = refusal.message if refusal else ""
    if model_type in ENGINE_WITHOUT_ADAPTERS:
        why = f"the engine applies no adapters to {model_type} models"
    if not why:
        return "MultiAdapter"
    if serving.mode == "MultiAdapter":
        field = "spec.serving.mode"
        raise InvalidConfigError(
            f"{field}: it can't be served beside other adapters ({why}); use mode Merged", field=field
        )
    logger.warning("can only be served merged: %s", why)
    return "Merged"


def check_what_was_loaded(state: Mapping[str, torch.Tensor], written: Collection[TensorInfo], base: str) -> None:
    """Refuse an adapter of which PEFT has ignored tensors or initialised missing ones, which it does without an error.

    Args:
        state: of the adapted model.
        written: the tensors of the adapter's file.
        base: the base's name.

    Raises:
        BaseMismatchError: they aren't the same.
    """
    shapes = {tensor.name: tensor.shape for tensor in written}
    loaded = {name for name, tensor in state.items() if tuple(tensor.shape) == shapes.get(name)}
    if lost := sorted(shapes.keys() - loaded):
        raise BaseMismatchError(
            f"PEFT has no place in base {base} for {some(lost)}; name the base that it was trained on", field=FIELD
        )
    # Other entries of the state are the base's own parameters: PEFT selects by the ends of names.
    if made_up := sorted(name for name in state.keys() - loaded if not PARTS.isdisjoint(name.split("."))):
        raise BaseMismatchError(
            f"PEFT adapts {some(made_up)} of base {base}, too, of which there are no tensors; name the base that it "
            "was trained on, or save the adapter again",
            field=FIELD,
        )
