"""The reference model: what the adapter is held near while it learns preferences.

It is what the training begins with, as in TRL: the base, which is there once the adapter is switched off; or with a
warm start the version that it goes on from, so that an adapter that has learned its task by SFT keeps it.
No second model is held: the weights of that version are put in the adapter's place for as long as the reference is
asked. PiSSA's base has given its principal components to the adapter, so its reference is its first adapter, too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from graft_trainer.methods.table import Method
from graft_trainer.training.checkpoint import ADAPTER_FILES

REFERENCE: Final = "reference"
"""Name of a second adapter."""


class Reference(Protocol):
    """Makes a model the reference for a while."""

    def applied(self) -> AbstractContextManager[PeftModel]:
        """Let the model be the reference, without gradients."""


class Beginning:
    """The model without its adapter, or with the weights that its adapter began with."""

    def __init__(self, model: PeftModel, initial: Mapping[str, torch.Tensor] | None = None) -> None:
        """Take the base of a model, or the weights ``initial`` of its adapter, by the names of its parameters."""
        self._model = model
        self._initial = initial

    @contextmanager
    def applied(self) -> Iterator[PeftModel]:
        """Let the model be the reference, without gradients."""
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

    def __init__(self, model: PeftModel, adapter: Path, beginning: Path) -> None:
        """Load the weights of ``beginning`` as an adapter of the same shape as that in the folder ``adapter``."""
        self._model = model
        config_file, weights_file = ADAPTER_FILES
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(adapter / config_file, Path(folder) / config_file)
            shutil.copyfile(beginning, Path(folder) / weights_file)
            model.load_adapter(folder, REFERENCE)

    @contextmanager
    def applied(self) -> Iterator[PeftModel]:
        """Let the model be the reference, without gradients."""
        trained = self._model.active_adapter
        with torch.no_grad():
            self._model.set_adapter(REFERENCE)
            try:
                yield self._model
            finally:
                self._model.set_adapter(trained)


def needs_beginning(method: Method, *, warm: bool) -> bool:
    """Tell whether the reference is the adapter that the training begins with, and not the base alone."""
    return warm or method.initialization == "PrincipalWeights"


def store_beginning(model: PeftModel, path: Path) -> None:
    """Keep the weights of a fresh adapter, which are part of every checkpoint then."""
    weights = {name: tensor.clone().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, path, metadata={"format": "pt"})


def begin_at(model: PeftModel, path: Path) -> Beginning:
    """Give the model the stored weights of the beginning, and return the reference that keeps them."""
    set_peft_model_state_dict(model, load_file(path))
    return beginning_of(model)


def beginning_of(model: PeftModel) -> Beginning:
    """Return the reference that keeps the present weights of the adapter."""
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return Beginning(model, {name: tensor.detach().clone() for name, tensor in trained.items()})
