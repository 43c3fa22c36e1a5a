"""Runs the optimisation: from the last checkpoint, if there is one, to the last step."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
)

from graft_trainer.config import TrainingHyperparameters
from graft_trainer.data.rows import Row
from graft_trainer.methods.shifted_attention import ShiftedAttentionTrainer
from graft_trainer.methods.table import Method
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.preferences.reference import Reference
from graft_trainer.preferences.trainer import PreferenceTrainer, ShiftedPreferenceTrainer
from graft_trainer.progress import ProgressWriter
from graft_trainer.training.batching import batching
from graft_trainer.training.best_adapter import BestAdapterCallback
from graft_trainer.training.checkpoint import (
    ADAPTER_FILES,
    BEST_ADAPTER_FILE,
    INITIAL_ADAPTER_FILE,
    TRAINER_STATE_FILE,
    RunCheckpoints,
    RunState,
)
from graft_trainer.training.checkpoint_callback import CheckpointCallback
from graft_trainer.training.divergence import DivergenceCallback
from graft_trainer.training.history import TrainingHistory, history_of
from graft_trainer.training.optimizer import lora_plus_optimizer, optimizer_name
from graft_trainer.training.packed_batches import check_rows_are_kept_apart
from graft_trainer.training.plateau import late_improvement
from graft_trainer.training.progress import ProgressCallback
from graft_trainer.training.token_count import TokenCountingTrainer
from graft_trainer.workers.distributed import STEP_TIMEOUT, Workers

logger = logging.getLogger(__name__)

SCHEDULERS = {"Cosine": "cosine", "Linear": "linear", "Constant": "constant_with_warmup"}
"""Names of learning-rate schedules, in the API and in Transformers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTraining:
    """A run whose every step was made, or that stopped early on purpose.

    ``train_loss`` is the mean over the last logging interval. The Trainer's own ``train_loss`` is not used: after a
    resume it divides the loss of some steps by the number of all.
    """

    adapter: Path
    """Folder with the two files of the best adapter."""
    initial_adapter: Path
    """File of the weights that the adapter began with; there only if the method or the objective needs them."""
    steps: int
    epochs: float
    train_loss: float | None
    history: TrainingHistory
    late_improvement: float | None
    train_seconds: float
    tokens: int
    """Tokens of all rows in all steps, padding left out."""


class RunTrainer:
    """Trains one adapter with checkpoints; one that learns preferences is held near a ``reference``."""

    def __init__(
        self,
        hyperparameters: TrainingHyperparameters,
        method: Method,
        checkpoints: RunCheckpoints,
        progress: ProgressWriter,
        notice: PreemptionNotice,
        workers: Workers,
        *,
        learning_rate_ratio: float,
        reference: Reference | None = None,
    ) -> None:
        self._hyperparameters = hyperparameters
        self._method = method
        self._checkpoints = checkpoints
        self._progress = progress
        self._notice = notice
        self._workers = workers
        self._learning_rate_ratio = learning_rate_ratio
        self._reference = reference

    def train(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        eval_rows: Sequence[Row],
        *,
        resumed: Path | None,
    ) -> FinishedTraining:
        """Train to the end, from the restored checkpoint ``resumed`` if there is one.

        Every worker learns how it ended; the adapter's files are the first one's.
        Raises PreemptedError once SIGTERM came and the state is stored, and DivergedError where the loss explodes.
        """
        state = RunState.load(resumed) if resumed else RunState()
        if resumed:
            logger.info("resuming from %s", resumed.name)
        if not state.finished:
            trainer = self._trainer(model, tokenizer, rows, eval_rows, state)
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
            step = trainer.state.global_step
            self._notice.stop_if_requested(step=step)
            if not state.finished:
                raise RuntimeError(f"training ended at step {step} without being finished")
            resumed = self._checkpoints.step_folder(step)
        assert resumed is not None
        finished = self._workers.broadcast(_finished(resumed, state) if self._workers.is_first else None)
        assert finished is not None
        return finished

    def _trainer(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        eval_rows: Sequence[Row],
        state: RunState,
    ) -> TokenCountingTrainer:
        patience = self._hyperparameters.early_stopping_patience
        interval = self._hyperparameters.checkpoint_seconds
        if self._hyperparameters.packing:
            check_rows_are_kept_apart(model)
        mixed = self._method.long_context and model.get_base_model().dtype == torch.bfloat16
        trainer = self._kind_of_trainer()(
            model=model,
            args=training_arguments(
                self._hyperparameters, self._method, self._checkpoints.folder, evaluate=bool(eval_rows), mixed=mixed
            ),
            **batching(rows, eval_rows, tokenizer, self._hyperparameters),
            optimizers=(self._optimizer(model), None),
            # The best adapter is chosen before a checkpoint is written, for the checkpoint to hold it.
            callbacks=[
                DivergenceCallback(),
                ProgressCallback(self._progress),
                BestAdapterCallback(self._checkpoints, state, patience=patience),
                CheckpointCallback(self._checkpoints, state, self._notice, self._workers, interval=interval),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _kind_of_trainer(self) -> Callable[..., TokenCountingTrainer]:
        ordinary: Callable[..., TokenCountingTrainer] = TokenCountingTrainer
        shifted: Callable[..., TokenCountingTrainer] = ShiftedAttentionTrainer
        if self._reference is not None:
            ordinary, shifted = (
                partial(kind, hyperparameters=self._hyperparameters, reference=self._reference)
                for kind in (PreferenceTrainer, ShiftedPreferenceTrainer)
            )
        if not self._method.long_context:
            return ordinary
        return partial(shifted, group_size=self._hyperparameters.attention_group_size)

    def _optimizer(self, model: PeftModel) -> torch.optim.Optimizer | None:
        """Return the optimizer of a method that needs its own; None leaves it to the Trainer."""
        if not self._method.faster_b:
            return None
        return lora_plus_optimizer(model, self._hyperparameters, ratio=self._learning_rate_ratio)


def training_arguments(
    hyperparameters: TrainingHyperparameters, method: Method, folder: Path, *, evaluate: bool, mixed: bool = False
) -> TrainingArguments:
    """Translate the run's hyperparameters to the Trainer's; ``mixed`` computes in bfloat16 what is held in float32."""
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=hyperparameters.epochs,
        max_steps=hyperparameters.max_steps or -1,
        per_device_train_batch_size=hyperparameters.batch_size,
        per_device_eval_batch_size=hyperparameters.batch_size,
        gradient_accumulation_steps=hyperparameters.gradient_accumulation,
        learning_rate=hyperparameters.learning_rate,
        lr_scheduler_type=SCHEDULERS[hyperparameters.schedule],
        # Below 1 the Trainer reads the number of steps as a share of all steps.
        warmup_steps=min(hyperparameters.warmup_ratio, 0.999),
        weight_decay=hyperparameters.weight_decay,
        max_grad_norm=hyperparameters.max_grad_norm,
        optim=optimizer_name(method),
        bf16=mixed,
        activation_checkpointing=hyperparameters.gradient_checkpointing,
        seed=hyperparameters.seed,
        data_seed=hyperparameters.seed,
        do_eval=evaluate,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=hyperparameters.eval_steps,
        prediction_loss_only=True,
        logging_steps=hyperparameters.logging_steps,
        # Otherwise a loss that is no number is logged as the last one that was.
        logging_nan_inf_filter=False,
        save_strategy="no",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        # Every trained weight takes part in every step, so nobody has to look for those that don't.
        ddp_find_unused_parameters=False,
        ddp_timeout=int(STEP_TIMEOUT.total_seconds()),
        disable_tqdm=True,
        report_to="none",
    )


def _finished(folder: Path, state: RunState) -> FinishedTraining:
    """Describe a finished run from its last checkpoint, the same whether it was just written or restored."""
    trainer_state = json.loads((folder / TRAINER_STATE_FILE).read_text(encoding="utf-8"))
    losses = [entry["loss"] for entry in trainer_state["log_history"] if "loss" in entry]
    return FinishedTraining(
        adapter=_adapter_folder(folder),
        initial_adapter=folder / INITIAL_ADAPTER_FILE,
        steps=trainer_state["global_step"],
        epochs=trainer_state["epoch"],
        train_loss=losses[-1] if losses else None,
        history=history_of(trainer_state["log_history"]),
        late_improvement=late_improvement(losses),
        train_seconds=state.train_seconds,
        tokens=trainer_state["num_input_tokens_seen"],
    )


def _adapter_folder(checkpoint: Path) -> Path:
    """Lay out the best adapter of a checkpoint: the best evaluated weights, or the last ones without evaluation."""
    config_file, weights_file = ADAPTER_FILES
    folder = checkpoint.parent / "adapter"
    folder.mkdir(exist_ok=True)
    best = checkpoint / BEST_ADAPTER_FILE
    shutil.copyfile(checkpoint / config_file, folder / config_file)
    shutil.copyfile(best if best.exists() else checkpoint / weights_file, folder / weights_file)
    return folder
