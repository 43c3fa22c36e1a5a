"""Every method on a CPU: trained, published, read back from the published files, merged where that is possible.

``make methods-table`` runs the same for longer, and writes what it measures to docs/methods.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod
from tests.trainer.methods.methods_table import MethodsTable

from graft_registry.adapters.compatibility import RefusalReason, check_version
from graft_registry.documents import BaseManifest
from graft_registry.models.safetensors_header import read_header
from graft_trainer.methods.table import METHODS, can_be_merged

# PEFT's, on trained prompts: they have positions of their own.
pytestmark = pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")

STEPS = int(os.environ.get("GRAFT_METHODS_STEPS", "24"))
LEARNING_RATES = {"IA3": "1e-1", "LoRAPlus": "2e-3", "LongLoRA": "2e-3", "PrefixTuning": "1", "PromptTuning": "1"}
"""Few parameters need large steps; LoRA+ has larger ones for half of the matrices."""

each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="session")
def table() -> Iterator[MethodsTable]:
    """What the runs measure; written where GRAFT_METHODS_TABLE says."""
    table = MethodsTable(steps=STEPS)
    yield table
    if path := os.environ.get("GRAFT_METHODS_TABLE"):
        table.write(Path(path))


@pytest.fixture(scope="session")
def prepare(new_pod: Callable[[str], Pod]) -> Callable[..., Pod]:
    """Make a short run of a method, merged where it can be."""

    def prepare_run(method: str, purpose: str) -> Pod:
        pod = new_pod(f"{method} {purpose}")
        pod.config["method"] = method
        pod.config["training"] |= {
            "maxSteps": STEPS,
            "gradientAccumulation": 1,
            "evalSteps": STEPS,
            "learningRate": LEARNING_RATES.get(method, "5e-3"),
        }
        pod.config["serving"] = {"mode": "Merged" if can_be_merged(METHODS[method]) else "None"}
        pod.config["evaluation"]["maxProbeRows"] = 2
        return pod

    return prepare_run


@pytest.fixture(scope="session")
def published(prepare: Callable[..., Pod], table: MethodsTable) -> Callable[[str], Pod]:
    """Return the published run of a method; it is made once."""
    pods: dict[str, Pod] = {}

    def run(method: str) -> Pod:
        if method not in pods:
            pods[method] = prepare(method, "published")
            assert pods[method].run() == 0, pods[method].termination()
            table.add(pods[method].version().manifest)
        return pods[method]

    return run


@each_method
def test_it_learns_and_is_what_was_published(
    method: str, published: Callable[[str], Pod], base: Path, tmp_path: Path
) -> None:
    stored = published(method).version()
    manifest, metrics = stored.manifest, stored.manifest.metrics
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.eval_loss < 0.9 * metrics.base_eval_loss
    published(method).registry.fetch(stored, tmp_path / "version")
    # A prompt of a few trained tokens may change no answer decisively on so small a base; whoever loads it is told so.
    assert manifest.golden or method == "PromptTuning"
    for golden in manifest.golden:
        margin = answer_margin(peft_model(base, tmp_path / "version"), golden.prompt_token_ids, golden.answer_token_ids)
        assert margin == pytest.approx(golden.margin, abs=2e-3)


@each_method
def test_the_merged_model_does_what_the_adapter_does(
    method: str, published: Callable[[str], Pod], base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stored = published(method).version()
    manifest = stored.manifest
    if not can_be_merged(METHODS[method]):
        assert manifest.merge is None
        return
    assert manifest.merge is not None
    assert manifest.merge.argmax_agreement == 1.0
    assert manifest.merge.mean_kl < 1e-6
    published(method).registry.fetch(stored, tmp_path / "version")
    merged = tmp_path / "version" / "merged"
    assert (merged / "config.json").read_bytes() == (base / "config.json").read_bytes()
    question = [{"role": "user", "content": "what is the salmon"}]
    prompts = [AutoTokenizer.from_pretrained(path).apply_chat_template(question) for path in (base, merged)]
    assert prompts[0]["input_ids"] == prompts[1]["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(merged)
    for golden in manifest.golden:
        margin = answer_margin(model, golden.prompt_token_ids, golden.answer_token_ids)
        assert margin == pytest.approx(golden.margin, abs=2e-3)


@each_method
def test_a_multi_adapter_engine_takes_it_or_is_kept_from_it(
    method: str, published: Callable[[str], Pod], base: Path, tmp_path: Path
) -> None:
    stored = published(method).version()
    published(method).registry.fetch(stored, tmp_path / "version")
    refusal = check_version(
        stored.manifest,
        json.loads((tmp_path / "version" / "adapter_config.json").read_text()),
        read_header(tmp_path / "version" / "adapter_model.safetensors").tensors,
        BaseManifest.from_bytes((base / ".graft" / "base.json").read_bytes()),
        max_rank=stored.manifest.shape.rank,
    )
    if METHODS[method].servable == "MultiAdapter":
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.reason is RefusalReason.METHOD_NOT_SERVABLE


@each_method
def test_an_interrupted_run_gives_the_same_bytes(
    method: str, published: Callable[[str], Pod], prepare: Callable[..., Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_trainer.training.checkpoint_callback import CheckpointCallback

    pod = prepare(method, "interrupted")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_step_end", stopping_at(STEPS // 2, CheckpointCallback.on_step_end))
        assert pod.run() == 143
    assert pod.checkpoints.steps() == (STEPS // 2,)
    assert pod.run() == 0
    assert pod.weights_sha256() == published(method).weights_sha256()


def stopping_at(step: int, on_step_end: Callable[..., None]) -> Callable[..., None]:
    """Ask the run to stop at a step, as SIGTERM would."""

    def stop(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            self._notice.request()
        on_step_end(self, args, state, control, **kwargs)

    return stop


def peft_model(base: Path, adapter: Path) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()


def answer_margin(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Return by how much the answer's tokens are ahead of all others; it must be the greedy one."""
    import torch

    with torch.inference_mode():
        # Counted from the end: trained prompts come before the first token.
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, -len(answer) - 1 : -1]
    best_two = logits.topk(2)
    assert tuple(best_two.indices[:, 0].tolist()) == answer
    return float((best_two.values[:, 0] - best_two.values[:, 1]).min())


def test_a_module_may_have_a_rank_of_its_own(prepare: Callable[..., Pod], tmp_path: Path) -> None:
    pod = prepare("LoRA", "ranks")
    pod.config["serving"] = {"mode": "MultiAdapter"}
    pod.config["lora"] |= {"rankPattern": {"q_proj": 4, "layers.1.mlp.up_proj": 12}, "alphaPattern": {"q_proj": 8}}
    assert pod.run() == 0
    stored = pod.version()
    pod.registry.fetch(stored, tmp_path / "version")
    header = read_header(tmp_path / "version" / "adapter_model.safetensors")
    ranks = {
        tensor.name.removeprefix("base_model.model.model.layers.").removesuffix(".lora_A.weight"): tensor.shape[0]
        for tensor in header.tensors
        if "lora_A" in tensor.name
    }
    expected = {"0.self_attn.q_proj": 4, "1.self_attn.q_proj": 4, "1.mlp.up_proj": 12, "0.mlp.up_proj": 8}
    assert {name: ranks[name] for name in expected} == expected
    assert stored.manifest.shape.rank == 12


@pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match:RuntimeWarning")
def test_a_rank_for_a_module_that_is_not_adapted_is_refused(prepare: Callable[..., Pod]) -> None:
    pod = prepare("LoRA", "rank of nothing")
    pod.config["lora"] |= {"rankPattern": {"proj_q": 4}}
    assert pod.run() == 64
    termination = pod.termination()
    assert termination["field"] == "spec.lora.rankPattern"
    assert "proj_q is not among the adapted modules" in termination["message"]
