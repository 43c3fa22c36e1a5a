"""Ends a run whose loss is NaN or infinite, or has exploded and does not come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from graft_trainer.outcome import DivergedError

FACTOR: Final = 3.0
"""A loss above this many times the first logged one counts as exploded."""

LEAST_FIRST_LOSS: Final = 1.0
"""Nats per token. A first loss below it counts as this: three times such a loss is still that of a useful model."""

PATIENCE: Final = 3
"""So many logged losses in a row have to be above the bound: one bad batch, or a peak after the warm-up, passes."""


def is_exploding(losses: Sequence[float]) -> bool:
    """Whether each of the last three losses is above three times the first one, or above 3 where that began below 1.

    ``losses`` are all the training losses that were logged so far, in nats per token. Training from a pretrained base
    begins near the best that the base can do, so a loss far above its beginning is worse than not to have trained.
    The rule needs nothing but these losses, so a resumed run decides as an uninterrupted one does. Its numbers are
    ours, chosen to end only what is hopeless.
    """
    if len(losses) <= PATIENCE:
        return False
    bound = FACTOR * max(losses[0], LEAST_FIRST_LOSS)
    return all(loss > bound for loss in losses[-PATIENCE:])


class DivergenceCallback(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Checks every logged loss. It needs no state: the Trainer's log history is part of every checkpoint."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Raise DivergedError for a loss that is not finite, or that explodes."""
        loss = logs.get("loss", logs.get("eval_loss"))
        if loss is None:
            return
        if not math.isfinite(loss):
            raise _diverged(f"the loss became {loss}", state)
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        if "loss" in logs and is_exploding(losses):
            raise _diverged(f"the loss rose from {losses[0]:.4f} to {loss:.4f} and stays there", state)


def _diverged(what: str, state: TrainerState) -> DivergedError:
    field = "spec.training.learningRate"
    return DivergedError(f"{what} at step {state.global_step}; lower {field}", field=field, step=state.global_step)
