"""Keeps the weights of the best evaluation and stops a run that no longer improves."""

from __future__ import annotations

import logging
from typing import Any

from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from graft_trainer.training.checkpoint import RunCheckpoints, RunState, save_adapter_weights

logger = logging.getLogger(__name__)


class BestAdapterCallback(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Remembers the adapter with the lowest evaluation loss; the first of equals wins.

    The Trainer's ``load_best_model_at_end`` points to local checkpoint folders, which a pod that resumes elsewhere does
    not have, and its early stopping forgets its patience on resume. This state is part of every checkpoint instead.
    """

    def __init__(self, checkpoints: RunCheckpoints, state: RunState, *, patience: int | None) -> None:
        self._checkpoints = checkpoints
        self._state = state
        self._patience = patience

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate at the last step too, so that the last weights can win."""
        if args.do_eval and state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        metrics: dict[str, float],
        model: PeftModel,
        **kwargs: Any,
    ) -> None:
        """Compare with the best evaluation so far."""
        loss = metrics["eval_loss"]
        if self._state.best_eval_loss is None or loss < self._state.best_eval_loss:
            self._state.best_eval_loss, self._state.best_step = loss, state.global_step
            self._state.evaluations_since_best = 0
            save_adapter_weights(model, self._checkpoints.best_adapter)
            return
        self._state.evaluations_since_best += 1
        if self._patience is not None and self._state.evaluations_since_best >= self._patience:
            logger.info(
                "early stop at step %d: no evaluation since step %d was better than %.4f",
                state.global_step,
                self._state.best_step,
                self._state.best_eval_loss,
            )
            self._state.finished = True
            control.should_training_stop = True
            control.should_save = True
