"""Logs and reports how far the optimisation is."""

from __future__ import annotations

import logging
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from graft_trainer.progress import ProgressWriter

logger = logging.getLogger(__name__)


class ProgressCallback(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Logs and reports the Trainer's figures."""

    def __init__(self, writer: ProgressWriter) -> None:
        self._writer = writer
        self._begun_at = time.monotonic()
        self._begun_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note where this process takes over."""
        self._begun_at, self._begun_step = time.monotonic(), state.global_step
        self._writer.enter("Training", step=state.global_step, max_steps=state.max_steps, rows=None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the step and when the last one is expected."""
        per_step = (time.monotonic() - self._begun_at) / (state.global_step - self._begun_step)
        eta = round(per_step * (state.max_steps - state.global_step), 1)
        self._writer.update(step=state.global_step, epoch=state.epoch, eta_seconds=eta)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Log one line."""
        loss = logs.get("loss", logs.get("eval_loss"))
        if loss is None:
            return
        if "eval_loss" in logs:
            logger.info("step %d/%d: eval loss %.4f", state.global_step, state.max_steps, loss)
            self._writer.update(eval_loss=loss)
            return
        logger.info(
            "step %d/%d: loss %.4f, learning rate %.2e, gradient norm %.3f",
            state.global_step,
            state.max_steps,
            loss,
            logs.get("learning_rate", 0.0),
            logs.get("grad_norm", 0.0),
        )
        self._writer.update(loss=loss)
