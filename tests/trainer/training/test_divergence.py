"""When a loss means that going on is hopeless, and when it only looks bad."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from graft_trainer.outcome import DivergedError
from graft_trainer.training.divergence import DivergenceCallback, is_exploding

LOSSES = {
    "a loss that falls": ([4.0, 3.0, 2.0, 1.0, 0.5], False),
    "a loss that stays": ([4.0] * 9, False),
    "twice the beginning": ([2.0] + [4.0] * 9, False),
    "three times the beginning, exactly": ([2.0] + [6.0] * 9, False),
    "above three times, but only twice": ([2.0, 1.0, 6.1, 6.1], False),
    "above three times, three times": ([2.0, 6.1, 6.1, 6.1], True),
    "above three times, and back once in between": ([2.0, 6.1, 6.1, 5.0, 6.1], False),
    "a peak that has passed": ([2.0, 9.0, 9.0, 9.0, 1.0], False),
    "a small beginning that triples": ([0.1, 0.4, 0.4, 0.4], False),
    "a small beginning that explodes": ([0.1, 3.1, 3.2, 3.3], True),
    "nothing was logged yet": ([], False),
}


@pytest.mark.parametrize(("losses", "exploding"), LOSSES.values(), ids=LOSSES)
def test_exploding(losses: list[float], exploding: bool) -> None:
    assert is_exploding(losses) == exploding


def tell(history: list[dict[str, float]]) -> None:
    state = SimpleNamespace(global_step=40, log_history=history)
    DivergenceCallback().on_log(None, state, None, logs=history[-1])


def test_an_explosion_names_the_field_and_the_figures() -> None:
    with pytest.raises(DivergedError, match=r"rose from 2.0000 to 8.0000 .* at step 40; lower spec.training") as raised:
        tell([{"loss": loss} for loss in (2.0, 7.0, 7.5, 8.0)])
    assert (raised.value.field, raised.value.step) == ("spec.training.learningRate", 40)


@pytest.mark.parametrize("key", ["loss", "eval_loss"])
@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_at_once(key: str, loss: float) -> None:
    with pytest.raises(DivergedError, match="the loss became"):
        tell([{key: loss}])


def test_evaluations_are_no_training_losses() -> None:
    tell([{"loss": 1.0}, *[{"eval_loss": 9.0}] * 9, {"loss": 1.0}])
