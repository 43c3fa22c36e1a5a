"""Decides at which steps a checkpoint is saved, and stops the run when its pod is asked to end."""

from __future__ import annotations

import logging
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from graft_trainer.preemption import PreemptionNotice
from graft_trainer.training.checkpoint import RunCheckpoints, RunState
from graft_trainer.workers.distributed import Workers

logger = logging.getLogger(__name__)


class CheckpointCallback(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Saves every ``interval`` seconds, at the last step and before the pod has to go.

    All workers save and stop at the same step: a SIGTERM to one of them stops all, and the interval is measured by the
    first worker's clock. It also adds up the seconds of training over all pods that the run has had.
    """

    def __init__(
        self,
        checkpoints: RunCheckpoints,
        state: RunState,
        notice: PreemptionNotice,
        workers: Workers,
        *,
        interval: int,
    ) -> None:
        self._checkpoints = checkpoints
        self._state = state
        self._notice = notice
        self._workers = workers
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
        due = self._workers.is_first and time.monotonic() - self._saved_at >= self._interval
        due, requested = self._workers.any_worker(due, self._notice.requested)
        if requested:
            self._notice.request()
            control.should_training_stop = True
        control.should_save = control.should_save or last or due or requested

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Upload what the Trainer has just written."""
        now = time.monotonic()
        self._state.train_seconds += now - self._measured_at
        self._measured_at = now
        self._checkpoints.upload(state.global_step, self._state)
        self._saved_at = time.monotonic()
        logger.info("checkpoint of step %d stored in %.1f s", state.global_step, self._saved_at - now)
