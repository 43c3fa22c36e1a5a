"""Saves a run's whole state to the registry and brings it back, so that a resumed run equals an uninterrupted one.

A checkpoint holds the adapter, the best adapter so far, the optimizer, the learning-rate schedule, every random
generator, the Trainer's own state and this program's. It is safetensors and JSON only (see `state_tree.py`).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import safe_globals

from graft_registry.checkpoints import CheckpointStore
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.state_tree import TENSORS_FILE, TREE_FILE, load_tree, save_tree

logger = logging.getLogger(__name__)

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BEST_ADAPTER_FILE = "best_adapter.safetensors"
TRAINER_STATE_FILE = "trainer_state.json"
RUN_STATE_FILE = "run_state.json"
TORCH_FILES = {"optimizer": "optimizer.pt", "scheduler": "scheduler.pt", "random": "rng_state.pth"}
"""What the Trainer writes and reads as torch files, by its name in the state tree."""

STORED_FILES = frozenset(
    {*ADAPTER_FILES, BEST_ADAPTER_FILE, TRAINER_STATE_FILE, RUN_STATE_FILE, TREE_FILE, TENSORS_FILE}
)
KEPT_CHECKPOINTS = 2
"""The newest one may turn out damaged; then the one before is used."""


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

    def __init__(self, store: CheckpointStore, folder: Path) -> None:
        self._store = store
        self.folder = folder

    @property
    def best_adapter(self) -> Path:
        """Where the weights with the lowest evaluation loss so far are kept."""
        return self.folder / BEST_ADAPTER_FILE

    def step_folder(self, step: int) -> Path:
        """Where the Trainer writes the checkpoint of a step."""
        return self.folder / f"checkpoint-{step}"

    def upload(self, step: int, state: RunState) -> None:
        """Complete the Trainer's local checkpoint of ``step`` and store it; older ones are dropped after it."""
        folder = self.step_folder(step)
        state.save(folder)
        if self.best_adapter.exists():
            shutil.copyfile(self.best_adapter, folder / BEST_ADAPTER_FILE)
        pack(folder)
        self._store.save(step, folder)
        self._store.prune(keep=KEPT_CHECKPOINTS)
        for other in self.folder.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other)

    def restore(self) -> Path | None:
        """Bring back the newest checkpoint that verifies; return its folder, or None where there is none."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        incoming = self.folder / "incoming"
        step = self._store.restore_latest(incoming)
        if step is None:
            return None
        folder = incoming.rename(self.step_folder(step))
        unpack(folder)
        if (folder / BEST_ADAPTER_FILE).exists():
            shutil.copyfile(folder / BEST_ADAPTER_FILE, self.best_adapter)
        return folder


class CheckpointCallback(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Saves every ``interval`` seconds, at the last step and before the pod has to go.

    It also measures the seconds of training, which add up over all pods of the run.
    """

    def __init__(
        self, checkpoints: RunCheckpoints, state: RunState, notice: PreemptionNotice, *, interval: int
    ) -> None:
        self._checkpoints = checkpoints
        self._state = state
        self._notice = notice
        self._interval = interval
        self._saved_at = self._measured_at = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clocks."""
        self._saved_at = self._measured_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Decide whether to save now and whether to stop."""
        last = state.global_step >= state.max_steps
        if last:
            self._state.finished = True
        if self._notice.requested:
            control.should_training_stop = True
        due = time.monotonic() - self._saved_at >= self._interval
        control.should_save = control.should_save or last or due or self._notice.requested

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Upload what the Trainer has just written."""
        now = time.monotonic()
        self._state.train_seconds += now - self._measured_at
        self._measured_at = now
        self._checkpoints.upload(state.global_step, self._state)
        self._saved_at = time.monotonic()
        logger.info("checkpoint of step %d stored in %.1f s", state.global_step, self._saved_at - now)


def pack(folder: Path) -> None:
    """Replace the Trainer's torch files by a state tree and delete whatever is not part of a checkpoint."""
    # These files were written by this very process a moment ago.
    with safe_globals():
        tree = {
            name: torch.load(folder / file, map_location="cpu", weights_only=True) for name, file in TORCH_FILES.items()
        }
    save_tree(tree, folder)
    for path in folder.iterdir():
        if path.name not in STORED_FILES:
            path.unlink()


def unpack(folder: Path) -> None:
    """Write the torch files that the Trainer resumes from, out of the state tree.

    Raises ValueError for a file that no checkpoint has.
    """
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in STORED_FILES)
    if foreign:
        raise ValueError(f"the checkpoint holds files that do not belong there: {foreign}")
    tree = load_tree(folder)
    for name, file in TORCH_FILES.items():
        torch.save(tree[name], folder / file)
