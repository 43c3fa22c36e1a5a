"""Bases that this image can't train on, or only in a way of its own: each says so by name, once, and is not retried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.trainer import families
from tests.trainer.conftest import Pod
from tests.trainer.toy_base import CHAT_TEMPLATE

from graft_registry.documents import BaseManifest
from graft_trainer.base import check_trainable
from graft_trainer.methods.table import METHODS
from graft_trainer.model import load_base, load_config, load_skeleton, load_tokenizer, stop_tokens, stored_dtype
from graft_trainer.outcome import BaseMismatchError, InvalidConfigError

FULL = METHODS["LoRA"]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.save("llama", tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A base of its own for a test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "base"))


def edit(path: Path, **fields: Any) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in {**document, **fields}.items() if value is not ...}))


def a_newer_type(folder: Path) -> None:
    edit(folder / "config.json", model_type="foo", architectures=["FooForCausalLM"])


def code_of_its_own(folder: Path) -> None:
    edit(folder / "config.json", model_type="foo", auto_map={"AutoModelForCausalLM": "modeling_foo.FooForCausalLM"})


def no_language(folder: Path) -> None:
    edit(folder / "config.json", model_type="vit")


def a_setting_of_another_kind(folder: Path) -> None:
    edit(folder / "config.json", hidden_act="no-such-activation")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (a_newer_type, r"'foo'.*this image has Transformers 5\..*use a newer trainer image"),
        (code_of_its_own, "needs code of its own, which is never run"),
        (no_language, "no class that writes text for a base of type 'vit'"),
        (a_setting_of_another_kind, "cannot load a base of type 'llama': KeyError"),
    ],
)
def test_a_base_that_transformers_cannot_build_is_named(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(BaseMismatchError, match=message) as raised:
        load_skeleton(folder)
    assert raised.value.field == "spec.baseModelRef"


def wrong_shapes(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=128)


def a_torn_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("spoil", [wrong_shapes, a_torn_file])
@pytest.mark.filterwarnings("ignore")
def test_weights_that_do_not_fit_are_the_bases_fault(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(BaseMismatchError, match=r"cannot load the base: .*check that its files are whole"):
        load_base(folder, dtype=torch.float32)


def keep(folder: Path, *, without: str) -> None:
    path = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if without not in name}, path, {"format": "pt"})


def no_norm(folder: Path) -> None:
    keep(folder, without="layers.1.input_layernorm")


def no_projection(folder: Path) -> None:
    keep(folder, without="layers.0.mlp.down_proj")


def no_head(folder: Path) -> None:
    keep(folder, without="lm_head")
    edit(folder / "config.json", tie_word_embeddings=False)


def a_block_too_many(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=load_config(folder).num_hidden_layers + 1)


@pytest.mark.parametrize("spoil", [no_norm, no_projection, no_head, a_block_too_many])
@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_not_there_are_not_made_up(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(BaseMismatchError, match=r"lack the weights (model|lm_head)\..*give all of its files") as raised:
        load_base(folder, dtype=torch.float32)
    assert raised.value.field == "spec.baseModelRef"


def test_a_head_that_is_tied_is_not_missed(folder: Path) -> None:
    keep(folder, without="lm_head")
    edit(folder / "config.json", tie_word_embeddings=True)
    assert load_base(folder, dtype=torch.float32).lm_head.weight is not None


def test_a_configuration_may_say_that_there_is_no_text_beside_others(folder: Path) -> None:
    edit(folder / "config.json", text_config=None)
    tokenizer = load_tokenizer(folder)
    assert stop_tokens(folder, tokenizer) == {1}
    assert stored_dtype(folder) == torch.float32


def only_sentencepiece(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\n\x0b\n\x04<s>\x15\0\0\0\0")


def a_class_of_its_own(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    edit(
        folder / "tokenizer_config.json", tokenizer_class="FooTokenizer", auto_map={"AutoTokenizer": ["foo.Foo", None]}
    )


def no_end(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=...)


def a_broken_file(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "NoSuchModel"}}')


@pytest.mark.parametrize("spoil", [only_sentencepiece, a_class_of_its_own, no_end, a_broken_file])
@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_that_cannot_be_loaded_is_named_with_what_to_give(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    with pytest.raises(BaseMismatchError, match=r"tokenizer\.json") as raised:
        load_tokenizer(folder)
    assert raised.value.field == "spec.baseModelRef"


def test_a_pad_token_beyond_the_vocabulary_is_not_used(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == "<pad>"
    edit(folder / "config.json", vocab_size=2)
    assert load_tokenizer(folder).pad_token == tokenizer.eos_token


@pytest.mark.parametrize(("model_type", "found"), [("gemma3", CHAT_TEMPLATE), ("llama", None)])
def test_a_chat_template_of_an_older_processor_is_that_of_models_with_pictures_only(
    model_type: str, found: str | None, tmp_path: Path
) -> None:
    """An engine asks a processor, which text models don't have, and their tokenizers don't read its file."""
    folder = families.save(model_type, tmp_path)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    edit(folder / "tokenizer_config.json", chat_template=...)
    assert load_tokenizer(folder).chat_template is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    template = load_tokenizer(folder).chat_template
    assert (template["default"] if isinstance(template, dict) else template) == found


def test_a_chat_template_that_is_none_is_named(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", chat_template=[{"name": "default"}])
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(BaseMismatchError, match=r"chat_template"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("generation", "config", "stops"),
    [
        ({"eos_token_id": [4, 5]}, {"eos_token_id": 6}, {1, 4, 5}),
        ({"eos_token_id": 4}, {}, {1, 4}),
        ({}, {"eos_token_id": 6}, {1, 6}),
        (None, {"eos_token_id": None}, {1}),
        ({"eos_token_id": "<end>"}, {"eos_token_id": 6}, {1, 6}),
        ({"eos_token_id": [None, 4, -1, 10**6, True]}, {}, {1, 4}),
        ({"eos_token_id": -1}, {"text_config": None}, {1}),
    ],
)
def test_answers_stop_where_a_server_stops_them(
    folder: Path, generation: dict[str, Any] | None, config: dict[str, Any], stops: set[int]
) -> None:
    path = folder / "generation_config.json"
    path.unlink(missing_ok=True)
    if generation is not None:
        path.write_text(json.dumps(generation))
    edit(folder / "config.json", **({"eos_token_id": ...} | config))
    assert stop_tokens(folder, load_tokenizer(folder)) == stops


def quantized(folder: Path, **fields: Any) -> BaseManifest:
    manifest = families.manifest_of(folder)
    fingerprint = manifest.fingerprint.model_copy(update={"quantization": fields})
    return manifest.model_copy(update={"fingerprint": fingerprint})


@pytest.mark.parametrize("kind", ["awq", "gptq", "compressed-tensors", "bitsandbytes"])
def test_a_quantized_base_of_an_earlier_import_is_refused_by_name(folder: Path, kind: str) -> None:
    with pytest.raises(BaseMismatchError, match=rf"\({kind}\).*full-precision model"):
        check_trainable(quantized(folder, quant_method=kind), FULL)


@pytest.mark.parametrize("kind", ["fp8", "mxfp4"])
def test_a_base_in_small_numbers_is_trained_in_full_but_not_quantized_again(folder: Path, kind: str) -> None:
    check_trainable(quantized(folder, quant_method=kind), FULL)
    with pytest.raises(InvalidConfigError, match=rf"\({kind}\) and can't be quantized once more") as raised:
        check_trainable(quantized(folder, quant_method=kind), METHODS["QLoRA"])
    assert raised.value.field == "spec.method"


@pytest.mark.filterwarnings("ignore")
def test_eight_bit_weights_are_full_again_once_loaded(folder: Path) -> None:
    whole = load_base(folder, dtype=torch.bfloat16)
    stored = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if "proj" in name:
            scale = tensor.abs().max() / 448
            stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale.reshape(1, 1)
        else:
            stored[name] = tensor
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    manifest = families.manifest_of(folder)
    assert manifest.fingerprint.quantization is not None
    assert "model.layers.0.self_attn.q_proj" in manifest.linear_modules
    model = load_base(folder, dtype=torch.bfloat16)
    layer, exact = (each.get_submodule("model.layers.0.self_attn.q_proj").weight for each in (model, whole))
    assert layer.dtype == torch.bfloat16
    assert torch.allclose(layer, exact, atol=0.01)
    assert torch.isfinite(model(input_ids=torch.arange(8)[None]).logits).all()


@pytest.mark.filterwarnings("ignore")
def test_four_bit_experts_are_full_again_once_loaded(tmp_path: Path) -> None:
    folder = families.save("gpt_oss", tmp_path / "base", num_hidden_layers=2, layer_types=families.ALTERNATING[:2])
    stored = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = tensor.shape
            stored[f"{name}_blocks"] = torch.zeros(experts, outputs, inputs // 32, 16, dtype=torch.uint8)
            stored[f"{name}_scales"] = torch.full((experts, outputs, inputs // 32), 120, dtype=torch.uint8)
        else:
            stored[name] = tensor
    parameters = families.manifest_of(folder).parameters
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", quantization_config={"quant_method": "mxfp4"})
    assert families.manifest_of(folder).parameters == parameters
    model = load_base(folder, dtype=torch.bfloat16)
    assert model.get_submodule("model.layers.0.mlp.experts").gate_up_proj.shape == (4, 64, 192)
    assert torch.isfinite(model(input_ids=torch.arange(8)[None]).logits).all()


def test_a_run_on_a_base_that_this_image_does_not_know_ends_at_once_and_for_good(pod: Pod, base: Path) -> None:
    folder = Path(shutil.copytree(base, pod.folder / "base"))
    a_newer_type(folder)
    pod.config["base"]["path"] = str(folder)
    assert pod.run() == 66
    termination = pod.termination()
    assert (termination["reason"], termination["field"]) == ("BaseMismatch", "spec.baseModelRef")
    assert "'foo'" in termination["message"]


def test_several_named_templates_do_not_end_a_training(pod: Pod, base: Path) -> None:
    folder = Path(shutil.copytree(base, pod.folder / "base"))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    named = [{"name": "default", "template": CHAT_TEMPLATE}, {"name": "tool_use", "template": CHAT_TEMPLATE + " "}]
    edit(folder / "tokenizer_config.json", chat_template=named)
    pod.config["base"]["path"] = str(folder)
    pod.config["training"]["maxSteps"] = 2
    assert pod.run() == 0, pod.termination()
