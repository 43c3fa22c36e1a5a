"""What a training that begins with an older version's weights does otherwise than one that begins with nothing.

One epoch at half the learning rate: on a base that was trained further, an adapter that was warm-started for one epoch
had a lower loss than one that was trained for three from nothing, and the full rate would undo what it starts with.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from graft_operator.api.training import Training

EPOCHS: Final = 1
STEPS_DIVISOR: Final = 3
"""Steps that were counted by the user instead of epochs are cut as three epochs, the default, are cut to one."""


def warm_training(training: Training) -> Training:
    """Return the hyperparameters of a warm start for a spec's hyperparameters."""
    steps = training.max_steps
    return training.model_copy(
        update={
            "epochs": EPOCHS,
            "max_steps": None if steps is None else -(-steps // STEPS_DIVISOR),
            "learning_rate": str(Decimal(training.learning_rate) / 2),
        }
    )
