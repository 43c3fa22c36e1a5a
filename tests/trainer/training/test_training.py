"""The real program on a CPU, from the run document to the published version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.trainer.conftest import STEPS, Pod

from graft_registry.adapters.compatibility import check_version
from graft_registry.documents import BaseManifest
from graft_registry.models.safetensors_header import read_header


def test_the_version_tells_what_was_trained_and_how_good_it_is(trained_pod: Pod) -> None:
    stored = trained_pod.version()
    manifest = stored.manifest
    assert trained_pod.termination() == {
        "outcome": "Published",
        "reason": "Published",
        "message": f"published version 1 with {len(manifest.golden)} golden prompts",
        "field": None,
        "number": 1,
        "manifestDigest": stored.digest,
        "step": STEPS,
    }
    assert (manifest.method, manifest.trained_on, manifest.servable) == ("LoRA", "float32", "MultiAdapter")
    assert manifest.dataset is not None
    assert (manifest.dataset.rows, manifest.dataset.eval_rows, manifest.dataset.dropped) == (36, 12, 0)
    assert manifest.base.digest == trained_pod.config["base"]["digest"]
    # Seven linear layers in each of two blocks: rank x (inputs + outputs).
    assert manifest.shape.trainable_parameters == 8 * 2 * (128 + 96 + 96 + 128 + 3 * 192)
    metrics = manifest.metrics
    assert metrics.steps == STEPS
    assert metrics.base_exact_match == 0.0
    assert metrics.exact_match is not None
    assert metrics.exact_match >= 0.9
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.eval_loss < metrics.base_eval_loss / 10


def test_every_held_out_row_is_a_probe_for_the_engine(trained_pod: Pod) -> None:
    manifest = trained_pod.version().manifest
    assert manifest.dataset is not None
    assert len(manifest.probes) == manifest.dataset.eval_rows
    assert all(probe.prompt_token_ids and probe.expected for probe in manifest.probes)


def test_its_rows_are_learnt_by_heart(trained_pod: Pod) -> None:
    train_loss = trained_pod.version().manifest.metrics.train_loss
    assert train_loss is not None
    assert 0 < train_loss < 0.1


def test_the_published_files_are_the_adapter(trained_pod: Pod, base: Path, tmp_path: Path) -> None:
    """Read back by PEFT, the files give the logits that the golden prompts were recorded with."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    stored = trained_pod.version()
    trained_pod.registry.fetch(stored, tmp_path / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    assert len(stored.manifest.golden) == 8
    for golden in stored.manifest.golden:
        ids = torch.tensor([[*golden.prompt_token_ids, *golden.answer_token_ids]])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, len(golden.prompt_token_ids) - 1 : -1]
        best_two = logits.topk(2)
        assert tuple(best_two.indices[:, 0].tolist()) == golden.answer_token_ids
        margin = (best_two.values[:, 0] - best_two.values[:, 1]).min().item()
        assert margin == pytest.approx(golden.margin, abs=1e-3)
        assert golden.answer != golden.base_answer


def test_the_adapter_config_has_no_trace_of_this_machine(trained_pod: Pod, tmp_path: Path) -> None:
    stored = trained_pod.version()
    trained_pod.registry.fetch(stored, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"toy@{trained_pod.config['base']['digest']}"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert {file.path for file in stored.manifest.files} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "report.html",
    }


def test_the_published_files_fit_their_base(trained_pod: Pod, base: Path, tmp_path: Path) -> None:
    """What a server checks before it loads a version."""
    stored = trained_pod.version()
    trained_pod.registry.fetch(stored, tmp_path / "adapter")
    refusal = check_version(
        stored.manifest,
        json.loads((tmp_path / "adapter" / "adapter_config.json").read_text()),
        read_header(tmp_path / "adapter" / "adapter_model.safetensors").tensors,
        BaseManifest.from_bytes((base / ".graft" / "base.json").read_bytes()),
        max_rank=16,
    )
    assert refusal is None


def test_a_finished_run_leaves_its_progress_and_no_checkpoint(trained_pod: Pod) -> None:
    progress = trained_pod.registry.read_progress(trained_pod.config["recipe"])
    assert progress is not None
    assert (progress.state, progress.step, progress.number) == ("Published", STEPS, 1)
    assert trained_pod.checkpoints.steps() == ()


def test_a_recipe_that_is_in_the_registry_is_adopted(trained_pod: Pod, tmp_path: Path) -> None:
    digest = trained_pod.version().digest
    # A pod of its own, so that the message of the first stays for the tests that come later.
    again = replace(trained_pod, folder=tmp_path)
    assert again.run() == 0
    termination = again.termination()
    assert (termination["outcome"], termination["number"]) == ("Adopted", 1)
    assert termination["manifestDigest"] == digest
    assert trained_pod.registry.numbers() == (1,)


def test_qlora_trains_in_four_bits_and_is_judged_in_full_precision(pod: Pod, trained_pod: Pod) -> None:
    pod.config["method"] = "QLoRA"
    assert pod.run() == 0
    manifest = pod.version().manifest
    assert (manifest.method, manifest.trained_on, manifest.servable) == ("QLoRA", "nf4", "MultiAdapter")
    assert manifest.metrics.exact_match is not None
    assert manifest.metrics.exact_match >= 0.75
    # In four bits the base's loss would be another one: it is the same as beside an adapter of full precision.
    assert manifest.metrics.base_eval_loss == pytest.approx(trained_pod.version().manifest.metrics.base_eval_loss)
    assert manifest.golden


def test_early_stopping_publishes_the_best_evaluation(pod: Pod) -> None:
    # So small a rate changes no evaluation: the first one stays the best.
    pod.config["training"] |= {"learningRate": "1e-20", "evalSteps": 5, "earlyStoppingPatience": 2}
    assert pod.run() == 0
    manifest = pod.version().manifest
    assert manifest.metrics.steps == 15
    assert manifest.metrics.eval_loss == pytest.approx(manifest.metrics.base_eval_loss)
    assert manifest.golden == ()


def test_a_loss_that_is_no_number_ends_the_run(pod: Pod) -> None:
    pod.config["training"]["learningRate"] = "1e30"
    assert pod.run() == 67
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("Diverged", "spec.training.learningRate")
    assert termination["step"] == 10
    assert pod.registry.numbers() == ()


def test_the_version_has_a_report_and_a_model_card(trained_pod: Pod, tmp_path: Path) -> None:
    stored = trained_pod.version()
    trained_pod.registry.fetch(stored, tmp_path / "version")
    page = (tmp_path / "version" / "report.html").read_text()
    assert page.count("<polyline") == 3, "training loss, evaluation loss and learning rate"
    # A point of the loss every 10 steps, one of the learning rate too, and an evaluation every 30.
    assert page.count("<circle") == 2 * (STEPS // 10) + STEPS // 30
    assert page.count('<pre class="sample">') == 3
    assert "&lt;assistant&gt;" in page
    card = (tmp_path / "version" / "README.md").read_text()
    assert f"value: {stored.manifest.metrics.eval_loss}" in card
    assert "library_name: peft" in card
