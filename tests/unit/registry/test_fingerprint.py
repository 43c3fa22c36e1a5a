"""What makes two bases the same, what makes them differ, and which directories aren't bases."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import (
    HIDDEN,
    VOCABULARY,
    model_tensors,
    safetensors_bytes,
    write_model,
)

from graft_registry.errors import InvalidModel
from graft_registry.fingerprint import ModelIdentity, identify


def test_a_model_is_described_in_full(tmp_path: Path) -> None:
    identity = identify(write_model(tmp_path))
    fingerprint = identity.fingerprint.to_dict()
    digests = {name: fingerprint.pop(name) for name in ("tokenizerDigest", "chatTemplateDigest", "shapesDigest")}
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


@pytest.mark.parametrize(
    ("change", "changed"),
    [
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
        pytest.param(config(tensors={"vision.weight": ("F32", (2, 2))}), "no linear layer", id="another kind of model"),
    ],
)
def test_a_directory_that_is_no_base_is_refused_and_the_message_names_the_file(
    tmp_path: Path, break_it: Any, message: str
) -> None:
    break_it(write_model(tmp_path))
    with pytest.raises(InvalidModel, match=message):
        identify(tmp_path)
