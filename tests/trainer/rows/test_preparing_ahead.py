"""Rows are prepared by a pod without a GPU, and the training after it begins with them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod
from tests.trainer.rows.kept_rows import again, keys

from graft_registry.digests import sha256_digest
from graft_registry.errors import Unavailable
from graft_registry.runs.prepared_rows import PreparedRowsStore
from graft_trainer import preparation
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.progress import ProgressWriter
from graft_trainer.row_files import kept, rendering

PREPARE = "prepare"


@pytest.fixture(autouse=True)
def few_rows_are_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 1)


def test_the_training_begins_with_what_was_prepared(
    pod: Pod, trained_pod: Pod, no_more_rendering: Callable[[], None]
) -> None:
    assert pod.run(PREPARE) == 0
    said = pod.termination()
    assert (said["outcome"], said["reason"], said["number"]) == ("Prepared", "Prepared", None)
    assert "held out are prepared and kept" in said["message"]
    assert pod.registry.find(pod.config["recipe"]) is None
    assert len({key.partition("/")[0] for key in keys(pod)}) == 1

    no_more_rendering()
    assert pod.run(PREPARE) == 0
    assert pod.termination()["message"] == "the rows are prepared already"
    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    assert pod.run(PREPARE) == 0
    assert pod.termination()["outcome"] == "Adopted"


def test_rows_with_a_given_digest_are_not_even_fetched_again(
    pod: Pod, trained_pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, name in ((pod.config["dataset"], "train"), (pod.config["dataset"]["evaluation"], "eval")):
        content = (pod.folder / f"{name}.jsonl").read_bytes()
        key = f"data/{pod.config['adapter']}/{name}.jsonl"
        pod.store.put(key, content)
        uri = f"s3://graft/{pod.config['registry']['prefix']}/{key}"
        part |= {"source": {"s3": {"uri": uri}}, "digest": sha256_digest(content)}
    assert pod.run(PREPARE) == 0

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("rows are fetched a second time")

    monkeypatch.setattr(DataFetcher, "fetch", refuse)
    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    record, other = pod.version().manifest.dataset, trained_pod.version().manifest.dataset
    assert record is not None
    assert other is not None
    assert (record.digest, record.rows, record.eval_digest) == (other.digest, other.rows, other.eval_digest)
    assert record.uri.startswith("s3://graft/")


def test_no_weights_are_needed(pod: Pod, base: Path) -> None:
    without = pod.folder / "base-without-weights"
    shutil.copytree(base, without, ignore=shutil.ignore_patterns("*.safetensors"))
    pod.config["base"]["path"] = str(without)
    assert pod.run(PREPARE) == 0
    assert keys(pod)


def test_few_rows_are_checked_and_left_to_the_training(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 16 << 20)
    assert pod.run(PREPARE) == 0
    assert "so few are rendered again by the training itself" in pod.termination()["message"]
    assert keys(pod) == []


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], int, str]] = {
    "no such layer": (
        lambda config: config["lora"].update(targetModules=["no_such"]),
        64,
        "spec.lora.targetModules",
    ),
    "rows that nothing is left of": (
        lambda config: config["training"].update(maxSequenceLength=8),
        65,
        "spec.training.maxSequenceLength",
    ),
    "another base": (
        lambda config: config["base"].update(digest="sha256:" + "0" * 64),
        66,
        "spec.baseModelRef",
    ),
}


@pytest.mark.parametrize(("spoil", "code", "field"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_found_as_the_training_would_find_it(
    pod: Pod, spoil: Callable[[dict[str, Any]], None], code: int, field: str
) -> None:
    spoil(pod.config)
    assert pod.run(PREPARE) == code
    assert pod.termination()["field"] == field
    trains = again(pod, "trains")
    assert trains.run() == code
    assert trains.termination()["message"] == pod.termination()["message"]
    assert keys(pod) == []


def test_sigterm_ends_it_and_the_next_pod_begins_again(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    render, calls = rendering.render_rows, []

    def preempted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return render(*arguments, **named)

    monkeypatch.setattr(preparation, "render_rows", preempted)
    assert pod.run(PREPARE) == 143
    assert pod.termination()["outcome"] == "Preempted"
    assert keys(pod) == []
    assert pod.run(PREPARE) == 0
    assert keys(pod)


def test_a_registry_that_does_not_take_them_is_worth_another_try(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise Unavailable("the bucket is away")

        patch.setattr(PreparedRowsStore, "save", away)
        assert pod.run(PREPARE) == 68
    assert pod.termination()["reason"] == "RegistryUnavailable"
    assert pod.run(PREPARE) == 0
    assert keys(pod)


def test_progress_tells_the_rows_while_they_are_rendered(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    update = ProgressWriter.update

    def remember(progress: ProgressWriter, **fields: object) -> None:
        told.append(fields)
        update(progress, **fields)

    monkeypatch.setattr(ProgressWriter, "update", remember)
    assert pod.run(PREPARE) == 0
    counts = [(fields["rows"], fields["total_rows"]) for fields in told if "rows" in fields]
    rows = len((pod.folder / "train.jsonl").read_text().splitlines())
    assert (rows, rows) in counts, "all are rendered in the end"
    assert (0, None) in counts, "how many there are is known once they have been read"
    assert counts[-1] == (None, None), "the training after it has not read them"


@pytest.mark.parametrize("arguments", [("train",), (PREPARE, "now"), ("--help",)])
def test_other_arguments_are_refused(pod: Pod, arguments: tuple[str, ...]) -> None:
    assert pod.run(*arguments) == 64
    assert "unknown arguments" in json.dumps(pod.termination())
