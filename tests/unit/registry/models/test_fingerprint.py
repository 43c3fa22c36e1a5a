"""What makes two bases the same, what makes them differ, and which directories aren't bases."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import (
    HIDDEN,
    VOCABULARY,
    Tensors,
    model_tensors,
    safetensors_bytes,
    write_model,
)

from graft_registry.digests import digest_of
from graft_registry.documents import Fingerprint
from graft_registry.documents.base import base_digest
from graft_registry.errors import InvalidModel
from graft_registry.models.fingerprint import ModelIdentity, identify


def test_a_model_is_described_in_full(tmp_path: Path) -> None:
    identity = identify(write_model(tmp_path))
    fingerprint = identity.fingerprint.to_dict()
    digests = {
        name: fingerprint.pop(name)
        for name in ("tokenizerDigest", "chatTemplateDigest", "shapesDigest", "behaviourDigest")
    }
    assert fingerprint == {
        "architecture": "LlamaForCausalLM",
        "hiddenSize": 8,
        "intermediateSize": 16,
        "layers": 2,
        "attentionHeads": 2,
        "keyValueHeads": 1,
        "headDim": 4,
        "vocabSize": 32,
        "tieWordEmbeddings": True,
        "maxPositions": 64,
        "rope": {"rope_type": "default", "rope_theta": 10000.0},
        "quantization": None,
        "dtype": "float32",
    }
    assert all(digest.startswith("sha256:") for digest in digests.values())
    assert identity.linear_modules["model.layers.1.mlp.up_proj"] == (16, 8)
    assert identity.linear_modules["lm_head"] == identity.linear_modules["model.embed_tokens"] == (VOCABULARY, HIDDEN)
    assert "model.layers.0.input_layernorm" not in identity.linear_modules
    assert identity.parameters == VOCABULARY * HIDDEN + 2 * (64 + 32 + 128 + 8) + 8
    assert [file.path for file in identity.files] == sorted(path.name for path in tmp_path.iterdir())


LLAMA3_SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 16}


@pytest.mark.parametrize(
    "old_spelling",
    [
        pytest.param({"dtype": ..., "torch_dtype": "float32"}, id="torch_dtype"),
        pytest.param({"dtype": ..., "torch_dtype": "torch.float32"}, id="torch_dtype with its module"),
        pytest.param({"dtype": ...}, id="a dtype that only the weights tell"),
        pytest.param({"rope_parameters": ..., "rope_theta": 10000.0}, id="rope_theta"),
        pytest.param({"rope_parameters": ..., "rope_theta": 10000}, id="rope_theta as an integer"),
        pytest.param({"rope_parameters": ..., "rope_theta": 1e4, "rope_scaling": None}, id="rope_scaling unset"),
        pytest.param({"head_dim": 4}, id="head_dim that is the default"),
        pytest.param({"tie_word_embeddings": ...}, id="a tie that only the missing output layer tells"),
    ],
)
def test_the_same_model_in_an_older_spelling_is_the_same_base(tmp_path: Path, old_spelling: dict[str, Any]) -> None:
    new = identify(write_model(tmp_path / "new"))
    old = identify(write_model(tmp_path / "old", **old_spelling))
    assert old.digest == new.digest


def test_scaled_rope_is_the_same_in_both_spellings(tmp_path: Path) -> None:
    parameters = {**LLAMA3_SCALING, "rope_type": "llama3", "rope_theta": 5e5}
    new = identify(write_model(tmp_path / "new", rope_parameters=parameters))
    scaling = {**LLAMA3_SCALING, "type": "llama3"}
    old = identify(write_model(tmp_path / "old", rope_parameters=..., rope_theta=500000, rope_scaling=scaling))
    assert old.digest == new.digest


def change_weights(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(safetensors_bytes(model_tensors(), fill=b"\1"))


def change_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')


def change_special_tokens(directory: Path) -> None:
    (directory / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')


def change_template(directory: Path) -> None:
    (directory / "chat_template.jinja").write_text("{{ messages | upper }}")


def change_stop_tokens(directory: Path) -> None:
    (directory / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')


def change_window(directory: Path) -> None:
    write_model(directory, sliding_window=16)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(change_stop_tokens, {"behaviour_digest"}, id="another stop token in generation_config.json"),
        pytest.param(change_window, {"behaviour_digest"}, id="another field of config.json"),
        pytest.param(change_weights, {"weights_digest"}, id="other weights"),
        pytest.param(change_tokenizer, {"tokenizer_digest"}, id="another tokenizer"),
        pytest.param(change_special_tokens, {"tokenizer_digest"}, id="another special token"),
        pytest.param(change_template, {"chat_template_digest"}, id="another chat template"),
    ],
)
def test_other_content_is_another_base_and_says_what_differs(tmp_path: Path, change: Any, changed: set[str]) -> None:
    before = identify(write_model(tmp_path))
    change(tmp_path)
    after = identify(tmp_path)
    assert before.digest != after.digest
    assert differences(before, after) == changed


def differences(before: ModelIdentity, after: ModelIdentity) -> set[str]:
    fields = type(before.fingerprint).model_fields
    changed = {name for name in fields if getattr(before.fingerprint, name) != getattr(after.fingerprint, name)}
    return changed | ({"weights_digest"} if before.weights_digest != after.weights_digest else set())


def test_a_template_in_the_tokenizers_config_belongs_to_the_template_alone(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": "</s>", "chat_template": "{{ messages }}"}))
    inline = identify(tmp_path).fingerprint
    config.write_text(json.dumps({"eos_token": "</s>"}))
    none = identify(tmp_path).fingerprint
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    file = identify(tmp_path).fingerprint
    assert inline.chat_template_digest == file.chat_template_digest
    assert none.chat_template_digest is None
    assert inline.tokenizer_digest == none.tokenizer_digest == file.tokenizer_digest


def test_files_that_are_no_part_of_a_model_are_left_out(tmp_path: Path) -> None:
    before = identify(write_model(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "consolidated.safetensors").write_bytes(b"a second copy of the weights")
    (tmp_path / "nested").mkdir()
    assert identify(tmp_path) == before


def test_a_tied_output_layer_that_is_stored_counts_once(tmp_path: Path) -> None:
    without = identify(write_model(tmp_path / "a"))
    stored = identify(write_model(tmp_path / "b", tensors=model_tensors(tied=False)))
    untied = identify(write_model(tmp_path / "c", tensors=model_tensors(tied=False), tie_word_embeddings=False))
    assert without.parameters == stored.parameters == untied.parameters - VOCABULARY * HIDDEN


def remove(name: str) -> Any:
    return lambda directory: (directory / name).unlink()


def write(name: str, content: str | bytes) -> Any:
    data = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / name).write_bytes(data)


def config(**overrides: Any) -> Any:
    return lambda directory: write_model(directory, **overrides)


INDEX = json.dumps({"weight_map": {"model.norm.weight": "a", "model.layers.9.x.weight": "lost.safetensors"}})
COMPRESSED = {**model_tensors(), "model.layers.0.mlp.up_proj.weight_packed": ("I32", (2, 2))}
PACKED = {**model_tensors(), "model.layers.0.self_attn.q_proj.weight": ("U8", (32, 1))}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        pytest.param(remove("config.json"), "config.json is missing", id="no config"),
        pytest.param(write("config.json", "{"), "config.json is not JSON", id="a config that isn't JSON"),
        pytest.param(write("config.json", "[]"), "config.json is not a JSON object", id="a config that is a list"),
        pytest.param(config(hidden_size=...), "hidden_size is missing", id="no hidden size"),
        pytest.param(config(hidden_size="8"), "hidden_size must be a positive integer", id="a size that is text"),
        pytest.param(config(vocab_size=0), "vocab_size must be a positive integer", id="an empty vocabulary"),
        pytest.param(config(architectures=[]), "architectures must name exactly one", id="no architecture"),
        pytest.param(config(rope_parameters=1), "rope_parameters must be an object", id="rope that is a number"),
        pytest.param(remove("model.safetensors"), "no .*safetensors file; convert", id="no weights"),
        pytest.param(write("model.safetensors", b"\x80\x04."), "model.safetensors: ", id="a pickle for weights"),
        pytest.param(remove("tokenizer.json"), "no tokenizer", id="no tokenizer"),
        pytest.param(write("tokenizer_config.json", "x"), "tokenizer_config.json is not JSON", id="a bad tokenizer"),
        pytest.param(write("adapter_config.json", "{}"), "this is an adapter", id="an adapter"),
        pytest.param(write("model.safetensors.index.json", INDEX), "lost.safetensors", id="a lost shard"),
        pytest.param(write("model.safetensors.index.json", "{}"), "weight_map is missing", id="an index of nothing"),
        pytest.param(
            write("second.safetensors", safetensors_bytes({"model.norm.weight": ("F32", (8,))})),
            "model.norm.weight is in another file, too",
            id="a tensor in two files",
        ),
        pytest.param(config(tensors=PACKED), "packed as U8", id="packed four-bit weights"),
        pytest.param(config(quantization_config={"quant_method": "awq"}), "quantized by AWQ", id="AWQ"),
        pytest.param(config(quantization_config={"quant_method": "gptq"}), "quantized by GPTQ", id="GPTQ"),
        pytest.param(
            config(quantization_config={"quant_method": "compressed-tensors"}, tensors=COMPRESSED),
            r"quantized by compressed-tensors \(model.layers.0.mlp.up_proj.weight_packed\)",
            id="packed integers of compressed-tensors",
        ),
        pytest.param(config(architectures=["BertForMaskedLM"]), "does not write text token by token", id="an encoder"),
        pytest.param(config(is_encoder_decoder=True), "does not write text", id="an encoder with a decoder"),
        pytest.param(config(tensors={"vision.weight": ("F32", (2, 2))}), "no linear layer", id="another kind of model"),
    ],
)
def test_a_directory_that_is_no_base_is_refused_and_the_message_names_the_file(
    tmp_path: Path, break_it: Any, message: str
) -> None:
    break_it(write_model(tmp_path))
    with pytest.raises(InvalidModel, match=message):
        identify(tmp_path)


def renamed(old: str, new: str) -> Tensors:
    return {name.replace(old, new): tensor for name, tensor in model_tensors().items()}


@pytest.mark.parametrize(
    ("stored", "architecture", "wrapped", "trained"),
    [
        ("model.language_model.layers", "Qwen3_5ForConditionalGeneration", True, "model.language_model.layers"),
        ("language_model.model.layers", "Gemma3ForConditionalGeneration", True, "model.language_model.layers"),
        ("model.layers", "Qwen2_5_VLForConditionalGeneration", True, "model.language_model.layers"),
        ("language_model.model.layers", "Llama4ForConditionalGeneration", True, "language_model.model.layers"),
        ("gpt_neox.layers", "GPTNeoXForCausalLM", False, "gpt_neox.layers"),
        ("transformer.h", "BloomForCausalLM", False, "transformer.h"),
        ("h", "GPT2LMHeadModel", False, "transformer.h"),
        ("decoder.layers", "OPTForCausalLM", False, "model.decoder.layers"),
        ("backbone.layers", "NemotronHForCausalLM", False, "model.layers"),
        ("backbone.layers", "Mamba2ForCausalLM", False, "backbone.layers"),
    ],
)
def test_layers_have_the_names_that_training_gives_them(
    tmp_path: Path, stored: str, architecture: str, wrapped: bool, trained: str
) -> None:
    tensors = renamed("model.layers", stored)
    fields: dict[str, Any] = {"hidden_size": ..., "text_config": {"hidden_size": HIDDEN}} if wrapped else {}
    modules = identify(write_model(tmp_path, tensors=tensors, architectures=[architecture], **fields)).linear_modules
    blocks = {name for name in modules if ".0." in name}
    assert blocks == {f"{trained}.0.{name}" for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")}


def test_pictures_beside_the_text_are_counted_but_are_no_layers_to_adapt(tmp_path: Path) -> None:
    tensors = renamed("model.", "language_model.model.") | {
        "vision_tower.encoder.layers.0.self_attn.q_proj.weight": ("F32", (8, 8))
    }
    identity = identify(
        write_model(
            tmp_path,
            tensors=tensors,
            architectures=["Gemma3ForConditionalGeneration"],
            num_hidden_layers=...,
            text_config={"num_hidden_layers": 2},
        )
    )
    assert identity.fingerprint.layers == 2
    assert not any("vision" in name for name in identity.linear_modules)
    assert identity.linear_modules["model.language_model.embed_tokens"] == identity.linear_modules["lm_head"]
    assert identity.parameters == identify(write_model(tmp_path / "text")).parameters + 64


def test_sizes_go_by_the_names_of_older_models(tmp_path: Path) -> None:
    names: dict[str, Any] = {"n_embd": HIDDEN, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": 16}
    modern = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "intermediate_size")
    without: dict[str, Any] = dict.fromkeys(modern, ...)
    older = identify(write_model(tmp_path, **names, **without)).fingerprint
    assert (older.hidden_size, older.layers, older.attention_heads) == (HIDDEN, 2, 2)
    assert (older.max_positions, older.intermediate_size) == (64, 16)


def test_a_matrix_that_is_stored_transposed_is_listed_as_training_uses_it(tmp_path: Path) -> None:
    tensors = renamed("model.layers", "h")
    modules = identify(write_model(tmp_path, tensors=tensors, architectures=["GPT2LMHeadModel"])).linear_modules
    assert modules["transformer.h.0.mlp.up_proj"] == (HIDDEN, 16)


def test_single_experts_and_routers_are_no_layers_of_their_own(tmp_path: Path) -> None:
    experts: Tensors = {
        f"model.layers.0.mlp.{name}.weight": ("F32", (8, 8))
        for name in ("experts.0.up_proj", "experts.1.up_proj", "gate", "shared_expert.up_proj", "shared_expert_gate")
    }
    identity = identify(write_model(tmp_path, tensors={**model_tensors(), **experts}))
    found = {name.partition(".mlp.")[2] for name in identity.linear_modules if ".0.mlp." in name}
    assert found == {"up_proj", "shared_expert.up_proj", "shared_expert_gate"}
    assert identity.parameters == identify(write_model(tmp_path / "dense")).parameters + 5 * 64


def test_two_values_in_a_byte_count_as_two(tmp_path: Path) -> None:
    experts: Tensors = {
        "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (2, 8, 1, 16)),
        "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", (2, 8, 1)),
    }
    packed = identify(
        write_model(tmp_path, tensors={**model_tensors(), **experts}, quantization_config={"quant_method": "mxfp4"})
    )
    assert packed.parameters == identify(write_model(tmp_path / "dense")).parameters + 2 * 8 * 32


def test_a_fingerprint_of_an_earlier_release_keeps_its_digest(tmp_path: Path) -> None:
    identity = identify(write_model(tmp_path))
    fields = identity.fingerprint.to_dict()
    del fields["behaviourDigest"]
    assert base_digest(identity.weights_digest, Fingerprint.model_validate(fields)) == digest_of(
        {"weightsDigest": identity.weights_digest, "fingerprint": fields}
    )
