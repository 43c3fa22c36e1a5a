"""Interrupted runs: nothing is lost, nothing is published early, nothing foreign is executed."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import STEPS, Pod
from tests.trainer.s3_server import S3Server, is_checkpoint


def test_a_killed_run_resumes_to_the_same_bytes(pod: Pod, trained_pod: Pod, s3_server: S3Server) -> None:
    pod.config["training"]["checkpointSeconds"] = 1
    with s3_server.acting_after(is_checkpoint, lambda: process.kill()):
        process = pod.start()
        assert process.wait() == -signal.SIGKILL
    assert pod.registry.numbers() == ()
    assert 0 < pod.checkpoints.steps()[-1] < STEPS

    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    resumed, uninterrupted = pod.version().manifest.metrics, trained_pod.version().manifest.metrics
    assert resumed.train_loss == uninterrupted.train_loss
    assert resumed.eval_loss == uninterrupted.eval_loss


def test_a_preempted_run_stores_a_checkpoint_and_says_so(
    pod: Pod, trained_pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_trainer.training.checkpoint_callback import CheckpointCallback

    on_step_end = CheckpointCallback.on_step_end

    def evict(self: Any, args: Any, state: Any, control: Any, **fields: Any) -> None:
        if state.global_step == STEPS // 2:
            os.kill(os.getpid(), signal.SIGTERM)
        on_step_end(self, args, state, control, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_step_end", evict)
        assert pod.run() == 143
    termination = pod.termination()
    assert termination["outcome"] == "Preempted"
    assert 0 < termination["step"] < STEPS
    assert pod.checkpoints.steps() == (termination["step"],)
    assert pod.registry.numbers() == ()

    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    resumed, uninterrupted = curves(pod, tmp_path / "resumed"), curves(trained_pod, tmp_path / "uninterrupted")
    assert [steps_of(curve) for curve in resumed] == [steps_of(curve) for curve in uninterrupted]
    *_, learning_rate = uninterrupted
    assert resumed[-1] == learning_rate


def test_a_run_that_is_out_of_memory_goes_on_with_a_smaller_batch_from_its_last_checkpoint(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from graft_trainer.training.checkpoint_callback import CheckpointCallback

    def run_out_of_memory(*args: object, **kwargs: object) -> None:
        if pod.checkpoints.steps():
            raise torch.OutOfMemoryError("CUDA out of memory")

    pod.config["training"]["checkpointSeconds"] = 1
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_step_begin", run_out_of_memory)
        assert pod.run() == 69
    assert pod.termination()["reason"] == "OutOfMemory"
    (step,) = pod.checkpoints.steps()
    assert 0 < step < STEPS

    pod.config["training"] |= {"batchSize": 2, "gradientAccumulation": 4}
    assert pod.run() == 0
    manifest = pod.version().manifest
    assert manifest.hyperparameters["training"]["batchSize"] == 2
    assert manifest.metrics.steps == STEPS
    assert manifest.metrics.exact_match is not None
    assert manifest.metrics.exact_match >= 0.9


def test_a_run_that_dies_after_its_last_step_is_not_trained_again(
    pod: Pod, trained_pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from graft_trainer import pipeline

    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the node is gone")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "questions_of", dies)
        assert pod.run() == 1
    assert pod.termination()["reason"] == "Crashed"
    assert pod.checkpoints.steps() == (STEPS,)

    pod.checkpoints.restore_latest(tmp_path / "checkpoint")
    seconds = json.loads((tmp_path / "checkpoint" / "run_state.json").read_text())["train_seconds"]
    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    assert pod.version().manifest.metrics.train_seconds == pytest.approx(seconds, abs=0.001)


def test_a_run_that_dies_after_publishing_leaves_no_checkpoint_for_ever(
    pod: Pod, trained_pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_registry.runs.checkpoints import CheckpointStore

    def dies(_: CheckpointStore) -> None:
        raise RuntimeError("the node is gone")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "clear", dies)
        assert pod.run() == 1
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    assert pod.checkpoints.steps() == (STEPS,)

    assert pod.run() == 0
    assert pod.termination()["outcome"] == "Adopted"
    assert pod.registry.numbers() == (1,)
    assert pod.checkpoints.steps() == ()


def curves(pod: Pod, report: Path) -> list[str]:
    """Return the points of every curve in the report of a version."""
    pod.registry.fetch_file(pod.version(), "report.html", report)
    return re.findall('<polyline .* points="(.*)"', report.read_text())


def steps_of(curve: str) -> list[str]:
    """Return where its points are, not how high: the first loss after a resume is a mean over fewer steps."""
    return [point.partition(",")[0] for point in curve.split()]
