"""The trainer's log: what the trainer writes is what the plugin's dashboard draws."""

from __future__ import annotations

import logging

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from graft_cli.dashboard.curves import Point, logged
from graft_trainer.progress import ProgressWriter
from graft_trainer.training.progress import ProgressCallback


def test_every_loss_that_is_logged_is_drawn(caplog: pytest.LogCaptureFixture) -> None:
    callback, state = (
        ProgressCallback(ProgressWriter(None, f"sha256:{'a' * 64}")),
        TrainerState(global_step=10, max_steps=96),
    )
    arguments = TrainingArguments(report_to=[])
    with caplog.at_level(logging.INFO):
        for logs in (
            {"loss": 2.1, "learning_rate": 2e-4, "grad_norm": 0.3},
            {"eval_loss": 1.9},
            {"train_runtime": 7.0},
        ):
            callback.on_log(arguments, state, TrainerControl(), logs=logs)
    curve = logged(caplog.messages, "job")
    assert (curve.training, curve.evaluation) == ((Point(10, 2.1),), (Point(10, 1.9),))
    assert curve.max_steps == 96
