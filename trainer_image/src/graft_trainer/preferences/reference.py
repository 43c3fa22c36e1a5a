"""The reference model of DPO and KTO: the model that the adapter is penalised for moving away from.

As in TRL it is the model that the training begins with. Without a warm start that is the base, which one gets by
switching the adapter off. With a warm start it is the version that the training continues, so that an adapter keeps
what it has learned by SFT. With PiSSA it is the initial adapter, too, since the base is not whole without that.
No second model is in memory: the initial weights replace the adapter's for as long as the reference is asked.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from graft_trainer.methods.table import Method
from graft_trainer.training.checkpoint import ADAPTER_FILES

REFERENCE: Final = "reference"
"""Name of a second adapter."""


class Reference(Protocol):
    """A reference model that shares the weights of the model that is trained."""

    def applied(self) -> AbstractContextManager[PeftModel]:
        """Turn the trained model into the reference until the block ends, without gradients."""


class InitialModel:
    """The model without its adapter, or with the weights that its adapter began with."""

    def __init__(self, model: PeftModel, initial: Mapping[str, torch.Tensor] | None = None) -> None:
        """Take the base of a model, or the weights ``initial`` of its adapter, by the names of its parameters."""
        self._model = model
        self._initial = initial

    @contextmanager
    def applied(self) -> Iterator[PeftModel]:
        """Turn the trained model into the reference until the block ends, without gradients."""
        with torch.no_grad():
            if self._initial is None:
                with self._model.disable_adapter():
                    yield self._model
                return
            self._swap()
            try:
                yield self._model
            finally:
                self._swap()

    def _swap(self) -> None:
        """Exchange the adapter's weights and the initial ones."""
        assert self._initial is not None
        exchanged = {}
        for name, parameter in self._model.named_parameters():
            if name in self._initial:
                exchanged[name], parameter.data = parameter.data, self._initial[name]
        self._initial = exchanged


class LoadedVersion:
    """The version that a training began with, as a second adapter of the model."""

    def __init__(self, model: PeftModel, adapter: Path, initial: Path) -> None:
        """Load the weights in ``initial`` as an adapter of the same shape as that in the folder ``adapter``."""
        self._model = model
        config_file, weights_file = ADAPTER_FILES
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(adapter / config_file, Path(folder) / config_file)
            shutil.copyfile(initial, Path(folder) / weights_file)
            model.load_adapter(folder, REFERENCE)

    @contextmanager
    def applied(self) -> Iterator[PeftModel]:
        """Turn the trained model into the reference until the block ends, without gradients."""
        trained = self._model.active_adapter
        with torch.no_grad():
            self._model.set_adapter(REFERENCE)
            try:
                yield self._model
            finally:
                self._model.set_adapter(trained)


def needs_initial_weights(method: Method, *, warm: bool) -> bool:
    """Tell whether the reference is the base with the initial adapter, and not the base alone."""
    return warm or method.initialization == "PrincipalWeights"


def restored_initial_model(model: PeftModel, path: Path) -> InitialModel:
    """Load the initial weights from ``path`` into the adapter, and return the reference that keeps a copy of them."""
    set_peft_model_state_dict(model, load_file(path))
    return initial_model_of(model)


def initial_model_of(model: PeftModel) -> InitialModel:
    """Return the reference that keeps a copy of the adapter's present weights."""
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return InitialModel(model, {name: tensor.detach().clone() for name, tensor in trained.items()})
