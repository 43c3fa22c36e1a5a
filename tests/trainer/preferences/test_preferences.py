"""Learning which answer is better: by pairs (DPO) and by labels (KTO), from the base and from an SFT version."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tests.ports import free_port
from tests.trainer.conftest import Pod, mounted
from tests.trainer.methods.test_methods import stopping_at
from tests.trainer.s3_server import S3Server, is_checkpoint
from tests.trainer.toy_task import labelled_answers, pairs

from graft_registry.digests import digest_of

STEPS = 120


SETTINGS: dict[str, dict[str, Any]] = {
    "DPO": {"preference": {"beta": "0.5"}},
    # Three answers of four are unwanted. Of each batch KTO estimates how far the adapter is from its reference.
    "KTO": {
        "preference": {"desirableWeight": "3"},
        "maxSteps": 240,
        "learningRate": "2e-3",
        "batchSize": 8,
        "gradientAccumulation": 1,
    },
}


def learn(pod: Pod, objective: str, **training: Any) -> Pod:
    """Make a run of the toy task learn preferences."""
    rows_of = pairs if objective == "DPO" else labelled_answers
    for where, held_out in ((pod.config["dataset"], False), (pod.config["dataset"]["evaluation"], True)):
        path = pod.folder / f"{objective}-{held_out}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows_of(held_out=held_out))))
        where["source"] = mounted(path)
    pod.config["training"] |= {"objective": objective, "maxSteps": STEPS, **SETTINGS[objective], **training}
    return pod


@pytest.fixture(scope="session")
def preferring(new_pod: Callable[[str], Pod]) -> Callable[[str], Pod]:
    """Return the published run of an objective; it is made once."""
    pods: dict[str, Pod] = {}

    def run(objective: str) -> Pod:
        if objective not in pods:
            pods[objective] = learn(new_pod(f"{objective} without interruption"), objective)
            assert pods[objective].run() == 0, pods[objective].termination()
        return pods[objective]

    return run


@pytest.mark.parametrize(("objective", "rows", "held_out", "learned"), [("DPO", 108, 36, 0.9), ("KTO", 144, 48, 0.8)])
def test_it_learns_what_is_preferred_also_of_what_it_was_not_told(
    preferring: Callable[[str], Pod], objective: str, rows: int, held_out: int, learned: float
) -> None:
    manifest = preferring(objective).version().manifest
    metrics = manifest.metrics
    assert manifest.objective == objective
    assert manifest.dataset is not None
    assert (manifest.dataset.rows, manifest.dataset.eval_rows) == (rows, held_out)
    assert metrics.preference_accuracy is not None
    assert metrics.preference_accuracy > learned
    assert metrics.base_eval_loss == pytest.approx(math.log(2) if objective == "DPO" else 0.75)
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.eval_loss < 0.9 * metrics.base_eval_loss
    assert (metrics.perplexity, metrics.exact_match) == (None, None)
    assert manifest.golden


def test_before_it_has_learned_it_prefers_nothing(pod: Pod) -> None:
    learn(pod, "DPO", maxSteps=1, learningRate="1e-20")
    assert pod.run() == 0
    metrics = pod.version().manifest.metrics
    assert metrics.preference_accuracy == pytest.approx(0.5, abs=0.2)
    assert metrics.eval_loss == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("objective", ["DPO", "KTO"])
def test_a_killed_run_resumes_to_the_same_bytes(
    preferring: Callable[[str], Pod], new_pod: Callable[[str], Pod], objective: str, s3_server: S3Server
) -> None:
    pod = learn(new_pod(f"{objective} killed"), objective, checkpointSeconds=1)
    with s3_server.acting_after(is_checkpoint, lambda: process.kill()):
        process = pod.start()
        assert process.wait() == -signal.SIGKILL
    assert 0 < pod.checkpoints.steps()[-1] < pod.config["training"]["maxSteps"]
    assert pod.run() == 0
    assert pod.weights_sha256() == preferring(objective).weights_sha256()
    assert pod.version().manifest.metrics.eval_loss == preferring(objective).version().manifest.metrics.eval_loss


def run_until(pod: Pod, step: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run until a step, after which the pod is asked to stop."""
    from graft_trainer.training.checkpoint_callback import CheckpointCallback

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_step_end", stopping_at(step, CheckpointCallback.on_step_end))
        return pod.run()


BEGIN_AS_THE_BASE = ("QLoRA", "DoRA", "LoRAPlus", "PiSSA", "EVA", "LongLoRA", "IA3")
PROMPTS = ("PrefixTuning", "PromptTuning")


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")
@pytest.mark.parametrize("method", [*BEGIN_AS_THE_BASE, *PROMPTS])
def test_every_method_begins_at_its_reference_and_is_judged_beside_it(
    method: str, new_pod: Callable[[str], Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted halfway, too: what a method is held near has to survive that."""
    once, twice = (learn(new_pod(f"{method} DPO {name}"), "DPO", maxSteps=8, evalSteps=8) for name in ("once", "twice"))
    for pod in (once, twice):
        pod.config["method"] = method
        pod.config["training"] |= {"learningRate": "1e-3", "gradientAccumulation": 1, "loggingSteps": 1}
        pod.config["evaluation"]["maxProbeRows"] = 2
    assert once.run() == 0, once.termination()
    assert run_until(twice, 4, monkeypatch) == 143
    assert twice.run() == 0, twice.termination()
    assert twice.weights_sha256() == once.weights_sha256()
    log = json.loads((once.folder / "work" / "checkpoints" / "checkpoint-8" / "trainer_state.json").read_text())
    first, *_ = (entry["loss"] for entry in log["log_history"] if "loss" in entry)
    # A trained prompt begins as words, which the base alone does not see.
    assert (first == pytest.approx(math.log(2), abs=1e-4)) == (method not in PROMPTS)
    (judged_in_training,) = (entry["eval_loss"] for entry in log["log_history"] if "eval_loss" in entry)
    metrics = once.version().manifest.metrics
    assert metrics.base_eval_loss == pytest.approx(math.log(2))
    if method != "QLoRA":  # which is judged on the base in full precision
        assert metrics.eval_loss == pytest.approx(judged_in_training, abs=1e-3)


@pytest.fixture
def on_top_of_sft(new_pod: Callable[[str], Pod], trained_pod: Pod) -> Callable[..., Pod]:
    """Make a run that begins with the version that has learned the toy task by SFT."""

    def make(name: str, **training: Any) -> Pod:
        stored = trained_pod.version()
        pod = learn(new_pod(name), "DPO", **training)
        pod.config["training"]["preference"] = {"beta": "0.5", "referenceVersion": stored.manifest.number}
        pod.config |= {
            "adapter": trained_pod.config["adapter"],
            "recipe": digest_of(name),
            "warmStart": {"number": stored.manifest.number, "manifestDigest": stored.digest},
        }
        return pod

    return make


def test_on_top_of_an_sft_version_it_begins_there_and_is_held_near_it(
    on_top_of_sft: Callable[..., Pod], trained_pod: Pod
) -> None:
    pod = on_top_of_sft("DPO that learns nothing", maxSteps=1, learningRate="1e-20")
    assert pod.run() == 0
    manifest = pod.version().manifest
    assert manifest.warm_start is not None
    assert manifest.warm_start.number == trained_pod.version().manifest.number
    assert manifest.metrics.eval_loss == pytest.approx(math.log(2), abs=1e-4)
    # What the SFT version answers, it still answers.
    answers = {golden.prompt: golden.answer for golden in trained_pod.version().manifest.golden}
    assert any(answers.get(golden.prompt) == golden.answer for golden in manifest.golden)


def test_on_top_of_an_sft_version_an_interrupted_run_gives_the_same_bytes(
    on_top_of_sft: Callable[..., Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = (on_top_of_sft(f"DPO on top of SFT, {name}", maxSteps=16) for name in ("once", "twice"))
    assert once.run() == 0
    assert run_until(twice, 8, monkeypatch) == 143
    assert twice.run() == 0
    assert twice.weights_sha256() == once.weights_sha256()
    eval_loss = once.version().manifest.metrics.eval_loss
    assert eval_loss is not None
    assert eval_loss < math.log(2)


LONG = {"role": "user", "content": "the " * 100}
BAD_ROWS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "rows of SFT for DPO": ("DPO", {"prompt": "a", "completion": "b"}, "spec.dataset", "give prompt, chosen and reje"),
    "rows of SFT for KTO": ("KTO", {"prompt": "a", "completion": "b"}, "spec.dataset", "give label true or false"),
    "pairs for SFT": ("SFT", {"prompt": "a", "chosen": "b", "rejected": "c"}, "spec.dataset", "objective DPO"),
    "labels for SFT": ("SFT", {"prompt": "a", "completion": "b", "label": True}, "spec.dataset", "objective KTO"),
    "answers cut off": (
        "DPO",
        {"prompt": [LONG], "chosen": "oak", "rejected": "elm"},
        "spec.training.maxSequenceLength",
        "no token of an answer is among the first 64 tokens",
    ),
    "answers that differ too late": (
        "DPO",
        {"prompt": "a", "chosen": "the " * 100 + "oak", "rejected": "the " * 100 + "elm"},
        "spec.training.maxSequenceLength",
        "begin with the same 64 tokens",
    ),
}


@pytest.mark.parametrize(("objective", "row", "field", "says"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows_are_named_before_any_step(pod: Pod, objective: str, row: Any, field: str, says: str) -> None:
    path = pod.folder / "bad.jsonl"
    path.write_text("\n".join([json.dumps(row)] * 4))
    pod.config["dataset"]["source"] = mounted(path)
    pod.config["dataset"]["evaluation"] = {"splitPercent": 0}
    pod.config["training"]["objective"] = objective
    assert pod.run() == 65
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("BadDataset", field)
    assert says in termination["message"]


@pytest.mark.parametrize(("label", "kind"), [(True, "wanted"), (0, "unwanted")])
def test_labels_of_one_kind_are_told_before_a_training_that_could_pass_no_gate(pod: Pod, label: Any, kind: str) -> None:
    path = pod.folder / "alike.jsonl"
    rows = [
        {"prompt": f"see the {noun}", "completion": "tree", "label": label} for noun in ("oak", "elm", "ash", "fir")
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    pod.config["dataset"] |= {"source": mounted(path), "evaluation": {"splitPercent": 50}}
    pod.config["training"]["objective"] = "KTO"
    assert pod.run() == 65
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("BadDataset", "spec.dataset.evaluation")
    assert f"the 2 held-out rows are all {kind}" in termination["message"]


def test_two_workers_measure_together_how_far_they_are_from_the_reference(pod: Pod) -> None:
    learn(pod, "KTO", maxSteps=6, evalSteps=6, batchSize=4)
    pod.config["workers"] = {"nodes": 1, "processesPerNode": 2, "sharding": "None"}
    pod.variables |= {"GRAFT_RENDEZVOUS": f"127.0.0.1:{free_port()}", "JOB_COMPLETION_INDEX": "0"}
    assert pod.start().wait() == 0
    metrics = pod.version().manifest.metrics
    assert metrics.steps == 6
    assert metrics.preference_accuracy is not None
