"""Rows that took long to prepare are kept, and whoever needs the same begins with them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from tests.trainer.conftest import NAMESPACE, Pod
from tests.trainer.rows.kept_rows import again, keys

from graft_registry.digests import digest_of
from graft_registry.layout import AdapterLayout
from graft_trainer import preparation
from graft_trainer.row_files import kept


@pytest.fixture(autouse=True)
def few_rows_are_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 1)


def test_rows_are_prepared_once(pod: Pod, trained_pod: Pod, no_more_rendering: Callable[[], None]) -> None:
    assert pod.run() == 0
    assert pod.weights_sha256() == trained_pod.weights_sha256()
    (digest,) = {key.partition("/")[0] for key in keys(pod)}
    assert f"{digest}/manifest.json" in keys(pod)

    no_more_rendering()
    second = again(pod, "second")
    assert second.run() == 0
    assert second.weights_sha256() == trained_pod.weights_sha256()
    first, other = pod.version().manifest, second.version().manifest
    assert other.dataset == first.dataset
    assert other.golden == first.golden
    assert other.probes == first.probes
    assert other.metrics.eval_loss == first.metrics.eval_loss
    doubled = again(pod, "doubled")
    doubled.config["lora"] |= {"rank": 16, "alpha": 32}
    assert doubled.run() == 0
    assert {key.partition("/")[0] for key in keys(pod)} == {digest}


def test_questions_come_from_kept_training_rows_where_nothing_is_held_out(
    pod: Pod, no_more_rendering: Callable[[], None]
) -> None:
    pod.config["dataset"]["evaluation"] = {"splitPercent": 0}
    pod.config["training"]["maxSteps"] = 2
    assert pod.run() == 0
    no_more_rendering()
    second = again(pod, "second")
    assert second.run() == 0
    assert second.version().manifest.golden == pod.version().manifest.golden
    record = second.version().manifest.dataset
    assert record is not None
    assert record.eval_rows == 0


@pytest.mark.parametrize("objective", ["DPO", "KTO"])
def test_preferences_are_kept_as_they_are(
    pod: Pod, objective: str, monkeypatch: pytest.MonkeyPatch, no_more_rendering: Callable[[], None]
) -> None:
    for name in ("train.jsonl", "eval.jsonl"):
        rows = [json.loads(line) for line in (pod.folder / name).read_text().splitlines()][:40]
        told = [
            {"prompt": asked["content"], "chosen": said["content"], "rejected": "who knows"}
            if objective == "DPO"
            else {"prompt": asked["content"], "completion": said["content"], "label": number % 2 == 0}
            for number, row in enumerate(rows)
            for asked, said in [row["messages"][-2:]]
        ]
        (pod.folder / name).write_text("\n".join(map(json.dumps, told)))
    pod.config["training"] |= {"objective": objective, "maxSteps": 4}
    assert pod.run() == 0
    no_more_rendering()
    monkeypatch.setattr(preparation, "render_preferences", None)
    second = again(pod, "second")
    assert second.run() == 0
    assert second.weights_sha256() == pod.weights_sha256()
    assert second.version().manifest.metrics.eval_loss == pod.version().manifest.metrics.eval_loss


def test_damaged_rows_are_prepared_anew(pod: Pod, trained_pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    assert pod.run() == 0
    layout = AdapterLayout(NAMESPACE, pod.config["adapter"])
    (tokens,) = (key for key in keys(pod) if key.endswith("training/tokens"))
    pod.store.put(layout.prepared_rows + tokens, b"\0" * 64)
    second = again(pod, "second")
    with caplog.at_level(logging.WARNING):
        assert second.run() == 0
    assert second.weights_sha256() == trained_pod.weights_sha256()
    assert pod.store.get(layout.prepared_rows + tokens, most=1 << 30) != b"\0" * 64


@pytest.mark.parametrize(
    "change",
    [{"maxSequenceLength": 63}, {"seed": 43}, {"trainOnInputs": True}],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_another_preparation(pod: Pod, change: dict[str, object]) -> None:
    pod.config["training"]["maxSteps"] = 2
    assert pod.run() == 0
    second = again(pod, "second")
    second.config["training"] |= change
    assert second.run() == 0
    assert len({key.partition("/")[0] for key in keys(pod)}) == 2


def test_no_more_than_two_preparations_are_kept(pod: Pod) -> None:
    pod.config["training"]["maxSteps"] = 1
    for length in (64, 63, 62):
        pod.config["training"]["maxSequenceLength"] = length
        pod.config["recipe"] = digest_of(f"{pod.config['adapter']} {length}")
        assert pod.run() == 0
    assert len({key.partition("/")[0] for key in keys(pod)}) == 2


def test_few_rows_are_not_kept(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 16 << 20)
    pod.config["training"]["maxSteps"] = 1
    assert pod.run() == 0
    assert keys(pod) == []
