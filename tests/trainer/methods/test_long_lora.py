"""LongLoRA on rows beyond the context of the base: trained in groups, judged and merged with all that it can see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod, mounted
from tests.trainer.methods.test_methods import stopping_at
from tests.trainer.toy_task import TRAINING

OWN_CONTEXT, CONTEXT, GROUP = 128, 192, 48
STEPS = 144
FILLER = "the and this a what I saw see " * 20
OTHER_FILLER = "the and this a what I see saw " * 20
"""160 words before each question: more than the base's context."""


def lengthened(rows: list[dict[str, Any]], filler: str) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": filler + question["content"]}, answer]}
        for question, answer in (row["messages"] for row in rows)
    ]


ROWS = lengthened(TRAINING, FILLER)
HELD_OUT = lengthened(TRAINING[::3], OTHER_FILLER)
"""Of nouns that are known: what is asked here is whether it learns at such lengths, not how much it makes of that."""


@pytest.fixture(scope="session")
def prepare(new_pod: Callable[[str], Pod]) -> Callable[[str], Pod]:
    def prepare_run(name: str) -> Pod:
        pod = new_pod(f"beyond the context, {name}")
        for rows, path in ((ROWS, "train.jsonl"), (HELD_OUT, "eval.jsonl")):
            (pod.folder / path).write_text("\n".join(map(json.dumps, rows)))
        pod.config["dataset"]["source"] = mounted(pod.folder / "train.jsonl")
        pod.config["dataset"]["evaluation"]["source"] = mounted(pod.folder / "eval.jsonl")
        pod.config["method"] = "LongLoRA"
        pod.config["lora"]["targetModules"] = ["q_proj", "k_proj", "v_proj", "o_proj"]
        pod.config["serving"] = {"mode": "Merged"}
        pod.config["evaluation"]["maxProbeRows"] = 12
        pod.config["training"] |= {
            "maxSequenceLength": CONTEXT,
            "attentionGroupSize": GROUP,
            "maxSteps": STEPS,
            "gradientAccumulation": 1,
            "learningRate": "2e-3",
            "evalSteps": STEPS // 3,
        }
        return pod

    return prepare_run


@pytest.fixture(scope="session")
def in_training() -> list[bool]:
    """Of each attention in groups so far, whether its layer was in training."""
    return []


@pytest.fixture(scope="session")
def published(prepare: Callable[[str], Pod], in_training: list[bool]) -> Pod:
    from graft_trainer.methods import shifted_attention

    attend = shifted_attention.attend

    def watched(module: Any, *args: Any, **kwargs: Any) -> Any:
        in_training.append(module.training)
        return attend(module, *args, **kwargs)

    pod = prepare("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shifted_attention, "attend", watched)
        assert pod.run() == 0, pod.termination()
    return pod


@pytest.fixture
def version(published: Pod, tmp_path: Path) -> Path:
    published.registry.fetch(published.version(), tmp_path / "version")
    return tmp_path / "version"


def test_only_training_steps_attend_in_groups(published: Pod, in_training: list[bool]) -> None:
    layers = 2
    assert published.version().manifest.metrics.steps == STEPS
    assert in_training == [True] * (STEPS * layers)


def test_it_learns_from_rows_beyond_the_context_of_its_base(published: Pod, base: Path) -> None:
    """And is compared with the base as that is served, whose positions are its own."""
    import torch

    from graft_trainer.data.conversation import Conversation, Message
    from graft_trainer.data.rendering import Renderer
    from graft_trainer.judging.evaluation import mean_loss
    from graft_trainer.model import load_base, load_tokenizer

    metrics, tokenizer = published.version().manifest.metrics, load_tokenizer(base)
    renderer = Renderer(tokenizer)
    conversations = [Conversation(tuple(Message(**turn) for turn in row["messages"])) for row in HELD_OUT]
    rows = [row for each in conversations for row in renderer.render(each, max_length=CONTEXT)]
    assert min(len(row.input_ids) for row in rows) > OWN_CONTEXT
    with torch.inference_mode():
        untuned = mean_loss(load_base(base, dtype=torch.float32).eval(), tokenizer, rows)
    assert metrics.base_eval_loss == pytest.approx(untuned, rel=1e-4)
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.eval_loss < 0.75 * metrics.base_eval_loss


def test_an_interrupted_run_gives_the_same_bytes(
    prepare: Callable[[str], Pod], published: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_trainer.training.checkpoint_callback import CheckpointCallback

    pod = prepare("interrupted")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_step_end", stopping_at(STEPS // 2, CheckpointCallback.on_step_end))
        assert pod.run() == 143
    assert pod.run() == 0
    assert pod.weights_sha256() == published.weights_sha256()


def test_embeddings_and_norms_are_published_too(version: Path) -> None:
    from safetensors.torch import load_file

    names = set(load_file(version / "adapter_model.safetensors"))
    expected = ("model.embed_tokens", "model.norm", "model.layers.1.input_layernorm", "lm_head")
    assert {f"base_model.model.{name}.weight" for name in expected} <= names
    config = json.loads((version / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["input_layernorm", "model.embed_tokens", "norm", "post_attention_layernorm"]


def test_the_merged_model_has_the_longer_context(published: Pod, version: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    manifest = published.version().manifest
    assert manifest.merge is not None
    assert manifest.merge.mean_kl < 1e-6
    assert manifest.merge.argmax_agreement == 1.0
    config = json.loads((version / "merged" / "config.json").read_text())
    assert config["rope_parameters"] == {"rope_theta": 10000.0, "rope_type": "linear", "factor": CONTEXT / OWN_CONTEXT}
    # Engines multiply it by the factor.
    assert config["max_position_embeddings"] == OWN_CONTEXT
    model = AutoModelForCausalLM.from_pretrained(version / "merged")
    assert manifest.golden
    for golden in manifest.golden:
        assert len(golden.prompt_token_ids) > OWN_CONTEXT
        prompt = torch.tensor([golden.prompt_token_ids])
        answer = model.generate(prompt, max_new_tokens=len(golden.answer_token_ids), do_sample=False)
        assert tuple(answer[0, prompt.shape[1] :].tolist()) == golden.answer_token_ids


def test_norms_learn_in_bfloat16_too(prepare: Callable[[str], Pod], base: Path, tmp_path: Path) -> None:
    """Their weights are near 1, where numbers of bfloat16 are 40 such steps apart."""
    from safetensors.torch import load_file

    pod = prepare("bfloat16")
    pod.config["training"] |= {"precision": "BFloat16", "learningRate": "1e-4", "maxSteps": 4}
    assert pod.run() == 0, pod.termination()
    pod.registry.fetch(pod.version(), tmp_path / "version")
    trained = load_file(tmp_path / "version" / "adapter_model.safetensors")["base_model.model.model.norm.weight"]
    untrained = load_file(base / "model.safetensors")["model.norm.weight"]
    moved = (trained - untrained.bfloat16().float()).abs()
    assert 1e-5 < moved.mean() < 1e-3


def test_packed_rows_train_too(prepare: Callable[[str], Pod]) -> None:
    pod = prepare("packed")
    pod.config["dataset"]["source"] = mounted(pod.folder.parent / "short.jsonl")
    (pod.folder.parent / "short.jsonl").write_text("\n".join(map(json.dumps, TRAINING)))
    pod.config["training"] |= {"packing": True, "batchSize": 1, "attentionGroupSize": 8, "maxSteps": 24}
    assert pod.run() == 0, pod.termination()
    metrics = pod.version().manifest.metrics
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.eval_loss < metrics.base_eval_loss
