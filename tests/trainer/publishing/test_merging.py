"""The merged model: rounded once, held to its limits, and refused where merging can't work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod

from graft_registry.documents import BaseManifest, Fingerprint, MergeRecord
from graft_registry.documents.base import base_digest
from graft_trainer.base import check_mergeable
from graft_trainer.config import ServingConfig
from graft_trainer.outcome import InvalidConfigError, MergeMismatchError


@pytest.fixture(scope="session")
def adapter(trained_pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a trained adapter."""
    folder = tmp_path_factory.mktemp("adapter") / "version"
    trained_pod.registry.fetch(trained_pod.version(), folder)
    return folder


@pytest.fixture
def rows(base: Path) -> list[Any]:
    from tests.trainer.toy_task import EVALUATION

    from graft_trainer.data.rows import Row
    from graft_trainer.model import load_tokenizer

    tokenizer = load_tokenizer(base)
    texts = [tokenizer.apply_chat_template(row["messages"])["input_ids"] for row in EVALUATION]
    return [Row.labelled(ids, [-100] * (len(ids) - 2) + ids[-2:]) for ids in texts]


def manifest_of(base: Path) -> BaseManifest:
    return BaseManifest.from_bytes((base / ".graft" / "base.json").read_bytes())


def in_bfloat16(base: Path, folder: Path) -> Path:
    """A copy of the base in another number format."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(base, folder)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def test_one_rounding_to_bfloat16_is_far_within_the_limits(
    base: Path, adapter: Path, rows: list[Any], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    from graft_trainer.publishing.merging import merge_adapter

    rounded = in_bfloat16(base, tmp_path / "base")
    record = merge_adapter(manifest_of(base), rounded, shutil.copytree(adapter, tmp_path / "adapter"), rows)
    assert record.dtype == "bfloat16"
    assert record.mean_kl < 1e-3
    assert record.argmax_agreement == 1.0
    weights = load_file(tmp_path / "adapter" / "merged" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}


def test_a_merge_that_is_rounded_to_four_bits_shows_in_the_record(base: Path, adapter: Path, rows: list[Any]) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from peft import PeftModel

    from graft_trainer.model import load_base
    from graft_trainer.publishing.merging import answer_logits, compare_logits, fold_in

    model = PeftModel.from_pretrained(load_base(base, dtype=torch.float32), adapter).eval()
    expected = answer_logits(model, rows)
    fold_in(model)
    merged = model.base_model.unload()
    in_full = compare_logits(expected, answer_logits(merged, rows), dtype="float32")
    for layer in merged.model.layers.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = dequantize_4bit(*quantize_4bit(layer.weight.data, quant_type="nf4"))
    in_four_bits = compare_logits(expected, answer_logits(merged, rows), dtype="float32")
    assert in_full.mean_kl < 1e-6
    assert in_four_bits.mean_kl > 100 * in_full.mean_kl
    assert in_four_bits.max_logit_difference > 0.1 > in_full.max_logit_difference


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
def test_an_output_layer_that_is_also_the_embedding_cannot_be_merged(pod: Pod) -> None:
    """Merged, its update would change what tokens are read as, too."""
    pod.config["lora"]["targetModules"] = ["lm_head"]
    pod.config["serving"] = {"mode": "Merged"}
    pod.config["training"] |= {"maxSteps": 10, "learningRate": "5e-2"}
    assert pod.run() == 71
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("MergeMismatch", "spec.serving.mode")
    assert pod.registry.numbers() == ()


@pytest.mark.parametrize(
    ("kl", "agreement", "published"), [(0.0099, 0.96, True), (0.011, 1.0, False), (0.0, 0.94, False)]
)
def test_the_limits(kl: float, agreement: float, published: bool) -> None:
    from graft_trainer.publishing.merging import check_parity

    record = MergeRecord(dtype="bfloat16", tokens=9, mean_kl=kl, max_logit_difference=0.1, argmax_agreement=agreement)
    if published:
        check_parity(record)
    else:
        with pytest.raises(MergeMismatchError):
            check_parity(record)


def test_logits_that_are_no_numbers_are_no_match() -> None:
    import torch

    from graft_trainer.publishing.merging import check_parity, compare_logits

    expected = torch.randn(4, 9)
    with pytest.raises(MergeMismatchError):
        check_parity(compare_logits(expected, torch.full_like(expected, torch.nan), dtype="float16"))


def test_a_base_that_is_stored_quantized_is_refused_before_anything_is_loaded(base: Path) -> None:
    document = json.loads(manifest_of(base).to_bytes())
    document["fingerprint"]["quantization"] = {"quant_method": "awq", "bits": 4}
    fingerprint = Fingerprint.model_validate(document["fingerprint"])
    document["digest"] = base_digest(document["weightsDigest"], fingerprint)
    quantized = BaseManifest.model_validate(document)
    check_mergeable(quantized, ServingConfig(mode="MultiAdapter"))
    check_mergeable(manifest_of(base), ServingConfig(mode="Merged"))
    with pytest.raises(InvalidConfigError, match=r"stored quantized \(awq\)") as error:
        check_mergeable(quantized, ServingConfig(mode="Merged"))
    assert error.value.field == "spec.serving.mode"
