"""What cannot be trained is refused before a single step, with the field to change and how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod, mounted

ROW = {"messages": [{"role": "user", "content": "what is the oak"}, {"role": "assistant", "content": "tree"}]}


def lines(*rows: Any) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


LONG = {"messages": [{"role": "user", "content": "the " * 100}, {"role": "assistant", "content": "tree"}]}
LONG_ANSWER = {"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": "tree " * 100}]}

BAD_DATASETS = {
    "too many broken rows": (lines(ROW, "{oops"), "spec.dataset", "bad.jsonl line 2: not JSON"),
    "answers cut off": (
        lines(*[LONG] * 4),
        "spec.training.maxSequenceLength",
        "bad.jsonl line 1: no token of an answer is among the first 64 tokens",
    ),
    "rows cut short": (lines(*[LONG_ANSWER] * 4), "spec.training.maxSequenceLength", "4 of 4 rows are longer than 64"),
}


@pytest.mark.parametrize(("content", "field", "message"), BAD_DATASETS.values(), ids=BAD_DATASETS)
def test_a_bad_dataset_is_named_before_any_step(pod: Pod, content: str, field: str, message: str) -> None:
    path = pod.folder / "bad.jsonl"
    path.write_text(content)
    pod.config["dataset"]["source"] = mounted(path)
    assert pod.run() == 65
    termination = pod.termination()
    assert (termination["reason"], termination["field"], termination["step"]) == ("BadDataset", field, 0)
    assert message in termination["message"]
    assert pod.checkpoints.steps() == ()


def missing_file(pod: Pod) -> None:
    pod.config["dataset"]["source"] = mounted(Path("/nowhere/rows.jsonl"))


def missing_object(pod: Pod) -> None:
    pod.config["dataset"]["source"] = {"s3": {"uri": "s3://graft/nowhere.jsonl"}}


def changed_data(pod: Pod) -> None:
    pod.config["dataset"]["digest"] = "sha256:" + "0" * 64


def only_held_out_rows(pod: Pod) -> None:
    path = pod.folder / "one.jsonl"
    path.write_text(lines(ROW))
    pod.config["dataset"] |= {"source": mounted(path), "evaluation": {"splitPercent": 5}}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (missing_file, "spec.dataset", "configMap:rows/rows.jsonl does not exist"),
        (missing_object, "spec.dataset.s3.uri", "s3://graft/nowhere.jsonl does not exist"),
        (changed_data, "spec.dataset", "the data changed"),
        (only_held_out_rows, "spec.dataset", "leaves none to train on"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_named(
    pod: Pod, change: Callable[[Pod], None], field: str, message: str
) -> None:
    change(pod)
    assert pod.run() == 65
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("BadDataset", field)
    assert message in termination["message"]


def test_another_base_than_the_runs_is_refused(pod: Pod) -> None:
    pod.config["base"]["digest"] = "sha256:" + "1" * 64
    assert pod.run() == 66
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("BaseMismatch", "spec.baseModelRef")
    assert "an adapter trained on it would not fit" in termination["message"]


def test_a_base_that_was_not_fetched_is_refused(pod: Pod, tmp_path: Path) -> None:
    pod.config["base"]["path"] = str(tmp_path)
    assert pod.run() == 66
    assert "the base toy was not fetched" in pod.termination()["message"]


def test_a_target_module_that_the_base_lacks_is_refused(pod: Pod) -> None:
    pod.config["lora"]["targetModules"] = ["query_key_value"]
    assert pod.run() == 64
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("InvalidConfig", "spec.lora.targetModules")


def test_an_unreachable_registry_is_worth_a_retry(pod: Pod) -> None:
    pod.config["registry"]["endpoint"] = "http://127.0.0.1:9"
    assert pod.run() == 68
    assert pod.termination()["reason"] == "RegistryUnavailable"


def test_rows_may_come_from_another_bucket_of_the_store(pod: Pod) -> None:
    train = Path(pod.config["dataset"]["source"]["file"]["path"])
    pod.store.put("data/rows.jsonl", train.read_bytes())
    pod.config["dataset"]["source"] = {"s3": {"uri": "s3://graft/registry/data/rows.jsonl"}}
    pod.config["training"]["maxSteps"] = 1
    assert pod.run() == 0
    dataset = pod.version().manifest.dataset
    assert dataset is not None
    assert dataset.uri == "s3://graft/registry/data/rows.jsonl"
