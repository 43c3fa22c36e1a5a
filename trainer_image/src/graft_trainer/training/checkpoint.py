"""Saves a run's whole state to the registry and brings it back, so that a resumed run equals an uninterrupted one.

A checkpoint holds the adapter, the best adapter so far, the optimizer, the learning-rate schedule, every random
generator, the Trainer's own state and this program's. It is safetensors and JSON only (see `state_tree.py`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers.trainer_pt_utils import safe_globals

from graft_registry.errors import InvalidModel
from graft_registry.models.safetensors_header import read_header
from graft_registry.runs.checkpoints import CheckpointStore
from graft_trainer.training.state_tree import TENSORS_FILE, TREE_FILE, load_tree, save_tree
from graft_trainer.workers.distributed import Workers

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BEST_ADAPTER_FILE = "best_adapter.safetensors"
INITIAL_ADAPTER_FILE = "initial_adapter.safetensors"
CARRIED_FILES = (BEST_ADAPTER_FILE, INITIAL_ADAPTER_FILE)
"""Files that go from checkpoint to checkpoint, where a run has them."""
TRAINER_STATE_FILE = "trainer_state.json"
RUN_STATE_FILE = "run_state.json"
TORCH_FILES = {"optimizer": "optimizer.pt", "scheduler": "scheduler.pt"}
"""What the Trainer writes and reads as torch files, by its name in the state tree."""
RANDOM = "random"
"""Name in the state tree of the states of the random generators, one of each worker."""

STORED_FILES = frozenset({*ADAPTER_FILES, *CARRIED_FILES, TRAINER_STATE_FILE, RUN_STATE_FILE, TREE_FILE, TENSORS_FILE})
KEPT_CHECKPOINTS = 2
"""The newest one may turn out damaged; then the one before is used."""


def save_adapter_weights(model: PeftModel, path: Path) -> None:
    """Save the weights of a model's adapter, by the names that ``adapter_model.safetensors`` has for them."""
    # Copies: the format can't express two tensors that share memory, such as an output layer tied to the embedding.
    weights = {name: tensor.clone().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, path, metadata={"format": "pt"})


@dataclass(slots=True)
class RunState:
    """What this program remembers across restarts, besides the Trainer's state."""

    finished: bool = False
    """Every step was made or early stopping fired: the adapter may be published."""
    train_seconds: float = 0.0
    best_eval_loss: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint's folder."""
        (folder / RUN_STATE_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> RunState:
        """Read the state from a checkpoint's folder."""
        return cls(**json.loads((folder / RUN_STATE_FILE).read_text(encoding="utf-8")))


class RunCheckpoints:
    """The checkpoints of one recipe: in the registry, and unpacked below ``folder``."""

    def __init__(self, store: CheckpointStore, folder: Path, workers: Workers) -> None:
        self._store = store
        self.folder = folder
        self._workers = workers

    @property
    def best_adapter(self) -> Path:
        """Where the weights with the lowest evaluation loss so far are kept."""
        return self.folder / BEST_ADAPTER_FILE

    @property
    def initial_adapter(self) -> Path:
        """Where the weights that the run began with are kept, if a method needs them again."""
        return self.folder / INITIAL_ADAPTER_FILE

    def step_folder(self, step: int) -> Path:
        """Where the Trainer writes the checkpoint of a step."""
        return self.folder / f"checkpoint-{step}"

    def upload(self, step: int, state: RunState) -> None:
        """Complete the Trainer's local checkpoint of ``step`` and store it; older ones are dropped after it.

        The first worker stores it, and the others wait until it is safe.
        """
        folder = self.step_folder(step)
        random = self._workers.gather(load_torch_file(folder / self._random_files()[self._workers.rank]))
        if self._workers.is_first:
            state.save(folder)
            for name in CARRIED_FILES:
                if (self.folder / name).exists():
                    shutil.copyfile(self.folder / name, folder / name)
            pack(folder, random)
            self._store.save(step, folder)
            self._store.prune(keep=KEPT_CHECKPOINTS, newest=step)
        self._workers.barrier()
        for other in self.folder.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other)

    def restore(self) -> Path | None:
        """Bring back the newest checkpoint that verifies; return its folder, or None where there is none.

        The first worker finds it, and the others take the same one.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        incoming = self.folder / "incoming"
        found = self._store.restore_latest(incoming, self._unpack) if self._workers.is_first else None
        step = self._workers.broadcast(found)
        if step is None:
            return None
        if not self._workers.is_first:
            self._store.restore(step, incoming, self._unpack)
        folder = incoming.rename(self.step_folder(step))
        for name in CARRIED_FILES:
            if (folder / name).exists():
                shutil.copyfile(folder / name, self.folder / name)
        return folder

    def _unpack(self, step: int, folder: Path) -> None:
        """Write the torch files that the Trainer resumes from, out of the state tree; raises ValueError."""
        tree = read_checkpoint(folder, step=step, workers=self._workers.count)
        for name, file in TORCH_FILES.items():
            torch.save(tree[name], folder / file)
        for state, file in zip(tree[RANDOM], self._random_files(), strict=True):
            torch.save(state, folder / file)

    def _random_files(self) -> list[str]:
        """Return where the Trainer keeps the state of each worker's random generators."""
        if self._workers.count == 1:
            return ["rng_state.pth"]
        return [f"rng_state_{rank}.pth" for rank in range(self._workers.count)]


def pack(folder: Path, random: list[Any]) -> None:
    """Replace the Trainer's torch files by a state tree and delete whatever is not part of a checkpoint."""
    tree = {name: load_torch_file(folder / file) for name, file in TORCH_FILES.items()}
    save_tree(tree | {RANDOM: random}, folder)
    for path in folder.iterdir():
        if path.name in STORED_FILES:
            continue
        # A tokenizer with several chat templates is saved with a folder of them.
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def load_torch_file(path: Path) -> Any:
    """Read a torch file that this very process wrote a moment ago, onto the CPU."""
    with safe_globals():
        return torch.load(path, map_location="cpu", weights_only=True)


def read_checkpoint(folder: Path, *, step: int, workers: int) -> dict[str, Any]:
    """Return the state tree of a checkpoint's folder, once everything else in it has been looked at too.

    Raises ValueError, saying what is wrong, for a folder that a run of so many workers would not have stored at this
    step. Such a folder verifies: somebody else wrote it, or another version of this program.
    """
    names = {path.name for path in folder.iterdir()}
    if foreign := sorted(names - STORED_FILES):
        raise ValueError(f"it holds files that do not belong there: {foreign}")
    if missing := sorted(STORED_FILES.difference(CARRIED_FILES) - names):
        raise ValueError(f"it lacks {missing}")
    try:
        for name in names:
            if name.endswith(".safetensors"):
                read_header(folder / name)
        RunState.load(folder)
        json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
        trainer_step = json.loads((folder / TRAINER_STATE_FILE).read_text(encoding="utf-8"))["global_step"]
        tree = load_tree(folder)
    except (InvalidModel, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"a file of it cannot be read: {type(error).__name__}: {error}") from error
    if trainer_step != step:
        raise ValueError(f"its trainer was at step {trainer_step}")
    if not isinstance(tree, dict) or tree.keys() != {*TORCH_FILES, RANDOM}:
        raise ValueError(f"its training state needs the parts {sorted({*TORCH_FILES, RANDOM})}")
    if not isinstance(tree[RANDOM], list) or len(tree[RANDOM]) != workers:
        raise ValueError(f"it was not written by {workers} workers")
    return tree
