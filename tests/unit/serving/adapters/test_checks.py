"""A corpus of versions that must never reach an engine, as files on the disk: each is refused for the right reason."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import (
    CONFIG,
    HIDDEN,
    WEIGHTS,
    Tensors,
    adapter_config,
    adapter_tensors,
    base_manifest,
    safetensors_bytes,
    version_on,
    write_adapter,
    write_model,
)

from graft_registry.documents import BaseManifest
from graft_serving.adapters.checks import MAX_CONFIG_BYTES, MAX_HEADER_BYTES, version_check
from graft_serving.errors import RefusedError

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseManifest:
    return base_manifest(write_model(tmp_path_factory.mktemp("base")))


def config(**fields: Any) -> Callable[[Path], object]:
    """Write another adapter_config.json."""
    return lambda folder: (folder / CONFIG).write_text(json.dumps(adapter_config(**fields)))


def file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def tensors(tensors: Tensors, fill: bytes = b"\0") -> Callable[[Path], object]:
    return file(WEIGHTS, safetensors_bytes(tensors, fill))


def weights_of(*values: float, dtype: str = "F32", code: str = "f") -> Callable[[Path], object]:
    """All weights finite, but for those at the end."""
    shapes: Tensors = {name: (dtype, shape) for name, (_, shape) in adapter_tensors().items()}
    end = struct.pack(f"<{len(values)}{code}", *values)
    return file(WEIGHTS, safetensors_bytes(shapes)[: -len(end)] + end)


def header(document: Any, data: bytes = bytes(8), length: int | None = None) -> Callable[[Path], object]:
    encoded = document if isinstance(document, bytes) else json.dumps(document).encode()
    return file(WEIGHTS, struct.pack("<Q", len(encoded) if length is None else length) + encoded + data)


def cut_short(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def missing(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DORA: Tensors = {**adapter_tensors(), f"{Q0}.lora_magnitude_vector": ("F32", (HIDDEN,))}
RENAMED: Tensors = {name.replace("base_model.model", "transformer"): entry for name, entry in adapter_tensors().items()}
FULL_LAYER: Tensors = {**adapter_tensors(), "base_model.model.lm_head.modules_to_save.weight": ("F32", (32, HIDDEN))}

FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "Narrower than the base.": (tensors(adapter_tensors(hidden=4)), "ShapeMismatch", "the base needs"),
    "More layers than the base.": (tensors(adapter_tensors(layers=3)), "ModuleUnknown", "layers.2"),
    "Fewer layers than the base.": (tensors(adapter_tensors(layers=1)), "MissingTensor", "layers.1"),
    "Names of another architecture.": (tensors(RENAMED), "UnexpectedTensor", "transformer."),
    "A higher rank than the engine's.": (config(r=32), "RankTooHigh", "rank 32 is above the 16"),
    "A higher rank in a single layer.": (config(rank_pattern={"q_proj": 64}), "RankTooHigh", "rank 64"),
    "DoRA by its config.": (config(use_dora=True), "MethodNotServable", "use_dora"),
    "DoRA by its tensors alone.": (tensors(DORA), "UnexpectedTensor", "lora_magnitude_vector"),
    "PiSSA that changed the base.": (config(init_lora_weights="pissa"), "MethodNotServable", "pissa"),
    "Full layers by its config.": (config(modules_to_save=["lm_head"]), "MethodNotServable", "modules_to_save"),
    "Full layers by its tensors alone.": (tensors(FULL_LAYER), "UnexpectedTensor", "modules_to_save"),
    "A prompt tuning.": (config(peft_type="PROMPT_TUNING"), "MethodNotServable", "PROMPT_TUNING"),
    "A class to be loaded.": (config(auto_mapping={"base_model_class": "x"}), "MethodNotServable", "auto_mapping"),
    "A NaN at the end.": (weights_of(float("nan")), "NotFinite", "layers.1.self_attn.v_proj"),
    "An infinity.": (weights_of(float("inf"), 0.0), "NotFinite", "not finite"),
    "A negative infinity in half precision.": (
        weights_of(float("-inf"), dtype="F16", code="e"),
        "NotFinite",
        "not finite",
    ),
    "Weights that were cut short.": (cut_short, "InvalidAdapter", "cut short"),
    "No weights.": (missing(WEIGHTS), "InvalidAdapter", WEIGHTS),
    "An empty file of weights.": (file(WEIGHTS, b""), "InvalidAdapter", "at least 8 bytes"),
    "No config.": (missing(CONFIG), "InvalidAdapter", CONFIG),
    "A pickle in place of the weights.": (file(WEIGHTS, pickle.dumps({"w": 1.0})), "InvalidAdapter", "not safetensors"),
    "A pickle in place of the config.": (file(CONFIG, pickle.dumps({"r": 4})), "InvalidAdapter", "can't be read"),
    "An archive of torch.save.": (file(WEIGHTS, b"PK\x03\x04" + bytes(60)), "InvalidAdapter", "not safetensors"),
    "A config that is a list.": (file(CONFIG, b"[]"), "InvalidAdapter", "not a JSON object"),
    "A config that is nested too deeply.": (file(CONFIG, b"[" * 60_000), "InvalidAdapter", "recursion"),
    "A huge config.": (file(CONFIG, b" " * 2 * MAX_CONFIG_BYTES), "InvalidAdapter", "bytes, at most"),
    "A header that is longer than the file.": (header({}, length=1 << 40), "InvalidAdapter", "cut short"),
    "A header that is nested too deeply.": (header(b"[" * 100_000), "InvalidAdapter", "not JSON"),
    "A huge header.": (header(b" " * 2 * MAX_HEADER_BYTES), "InvalidAdapter", "bytes, at most"),
    "A header of a hundred thousand lists, which would take forty times its size.": (
        header(b'{"a":[' + b"[]," * 300_000 + b"0]}"),
        "InvalidAdapter",
        "describes no tensor",
    ),
    "A header whose metadata hold anything but text.": (
        header({"__metadata__": {"a": [[]]}}),
        "InvalidAdapter",
        "describes no tensor",
    ),
    "A tensor that begins before the data.": (
        header({"a": {**TENSOR, "data_offsets": [-8, 0]}}),
        "InvalidAdapter",
        "data_offsets",
    ),
    "Two tensors over the same bytes.": (header({"a": TENSOR, "b": TENSOR}), "InvalidAdapter", "begins at 0"),
    "A tensor beyond the end.": (header({"a": {**TENSOR, "data_offsets": [8, 16]}}), "InvalidAdapter", "begins at 8"),
    "A shape whose size overflows.": (
        header({"a": {**TENSOR, "shape": [1 << 62, 1 << 62]}}),
        "InvalidAdapter",
        "doesn't take",
    ),
}


@pytest.mark.parametrize(("spoil", "reason", "says"), FILES.values(), ids=FILES.keys())
def test_bad_files_are_refused(
    base: BaseManifest, tmp_path: Path, spoil: Callable[[Path], object], reason: str, says: str
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    spoil(folder)
    with pytest.raises(RefusedError) as refused:
        version_check(base, max_rank=16)(folder, version_on(base))
    assert refused.value.reason == reason
    assert says in str(refused.value)


BASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "Other weights of the same shapes.": ({"fill": b"\1"}, "", "[0-9a-f]{64}, but this is"),
    "The same weights with another tokenizer.": ({}, "tokenizer.json", "another tokenizer,"),
    "The same weights with another chat template.": ({}, "chat_template.jinja", "another chat template,"),
}


@pytest.mark.parametrize(("model", "changed", "says"), BASES.values(), ids=BASES.keys())
def test_an_adapter_of_another_base_is_refused_although_it_fits(
    base: BaseManifest, tmp_path: Path, model: dict[str, Any], changed: str, says: str
) -> None:
    folder = write_model(tmp_path / "other", **model)
    if changed:
        (folder / changed).write_text('{"model": {"type": "WordPiece"}}')
    other = base_manifest(folder)
    assert other.linear_modules == base.linear_modules
    with pytest.raises(RefusedError, match=says) as refused:
        version_check(base, max_rank=16)(write_adapter(tmp_path / "adapter"), version_on(other))
    assert refused.value.reason == "BaseDigestMismatch"


def test_the_adapter_that_all_others_were_made_from_is_accepted(base: BaseManifest, tmp_path: Path) -> None:
    version_check(base, max_rank=16)(write_adapter(tmp_path), version_on(base))


def test_a_base_with_more_modules_lets_adapters_have_longer_headers(base: BaseManifest, tmp_path: Path) -> None:
    # An adapter of every expert of a large mixture has them; on a base without so many modules nobody needs them.
    folder = write_adapter(tmp_path / "adapter")
    header({"__metadata__": {"padding": "x" * (MAX_HEADER_BYTES + 10_000)}})(folder)
    many = base.model_copy(update={"linear_modules": {f"module-{number}": (8, 8) for number in range(100)}})
    with pytest.raises(RefusedError, match="at most"):
        version_check(base, max_rank=16)(folder, version_on(base))
    with pytest.raises(RefusedError) as refused:
        version_check(many, max_rank=16)(folder, version_on(many))
    assert "at most" not in str(refused.value)
