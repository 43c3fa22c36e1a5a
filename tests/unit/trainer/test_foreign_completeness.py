"""Adapters from elsewhere that are cut short, are of fewer layers, or aren't what their configuration says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.importing.completeness import check_complete
from graft_trainer.importing.fitting import BaseShapes, fit
from graft_trainer.importing.settings import AdapterSettings, read_settings
from graft_trainer.outcome import BaseMismatchError, InvalidSourceError, TrainingError

ROOT, LARGER = "model.layers", "model.language_model.layers"
KINDS = ("q_proj", "v_proj")


def paths(root: str, *blocks: int, kinds: tuple[str, ...] = KINDS) -> list[str]:
    return [f"{root}.{block}.self_attn.{kind}" for block in blocks for kind in kinds]


BASE = BaseShapes(
    name="tiny",
    linear=dict.fromkeys(paths(ROOT, 0, 1), (8, 6)) | {"model.embed_tokens": (100, 6), "lm_head": (100, 6)},
    parameters={"model.embed_tokens.weight": (100, 6), "lm_head.weight": (100, 6), "model.norm.weight": (6,)},
)


def settings(**fields: Any) -> AdapterSettings:
    return read_settings(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | fields))


def check(named: dict[str, str], **fields: Any) -> None:
    check_complete(named, settings(**fields), BASE.linear, "tiny")


WHOLE = {path: path for path in paths(ROOT, 0, 1)}
FIRST = {path: path for path in paths(ROOT, 0)}
LARGER_WHOLE = dict(zip(paths(ROOT, 0, 1), paths(LARGER, 0, 1), strict=True))
LARGER_FIRST = dict(zip(paths(ROOT, 0), paths(LARGER, 0), strict=True))


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": list(KINDS)},
        {"target_modules": list(KINDS), "exclude_modules": ".*visual.*"},
        {"target_modules": list(KINDS), "exclude_modules": "(?!a).*visual.*"},
        {"target_modules": paths(ROOT, 0, 1)},
        {"target_modules": paths(LARGER, 0, 1)},
        {"target_modules": paths("language_model.model.layers", 0, 1)},
        {"target_modules": paths("layers", 0, 1)},
        {"target_modules": r".*\.(q|v)_proj"},
        {"target_modules": r"model\.(language_model\.)?layers\.\d\.self_attn\.(q|v)_proj"},
        {"target_modules": None},
        {"peft_type": "IA3", "target_modules": list(KINDS)},
    ],
)
@pytest.mark.parametrize(("whole", "first"), [(WHOLE, FIRST), (LARGER_WHOLE, LARGER_FIRST)], ids=["own", "larger"])
def test_fewer_layers_than_the_base_has_are_refused(
    fields: dict[str, Any], whole: dict[str, str], first: dict[str, str]
) -> None:
    check(whole, **fields)
    with pytest.raises(BaseMismatchError, match=r"no tensors for model\.layers\.1\.self_attn\.q_proj") as refused:
        check(first, **fields)
    assert refused.value.field == "spec.baseModelRef"


@pytest.mark.parametrize("targets", [list(KINDS), r".*\.(q|v)_proj", "(?!vision).*_proj", paths(LARGER, 0, 1)])
def test_one_module_that_is_missing_in_the_last_block_is_seen(targets: Any) -> None:
    named = {path: name for path, name in WHOLE.items() if path != f"{ROOT}.1.self_attn.v_proj"}
    with pytest.raises(BaseMismatchError, match=r"no tensors for model\.layers\.1\.self_attn\.v_proj, which"):
        check(named, target_modules=targets)


def test_layers_that_an_expression_chooses_are_enough() -> None:
    check(FIRST, target_modules=r"model\.layers\.0\.self_attn\.(q|v)_proj")
    check(LARGER_FIRST, target_modules=r"model\.language_model\.layers\.0\.self_attn\.(q|v)_proj")


@pytest.mark.parametrize("targets", [["fc1"], paths("model.visual.blocks", 0), ["q_proj.base"]])
def test_targets_that_mean_nothing_in_the_base_are_refused(targets: list[str]) -> None:
    with pytest.raises(InvalidSourceError, match=r"target_modules, .* covers no layer of base tiny: "):
        check(WHOLE, target_modules=targets)


Shapes = dict[str, tuple[int, ...]]


def pairs(modules: list[str], **parts: tuple[int, ...]) -> Shapes:
    parts = {"lora_A.weight": (4, 6), "lora_B.weight": (8, 4)} | parts
    return {f"base_model.model.{module}.{part}": shape for module in modules for part, shape in parts.items()}


def fitted(shapes: Shapes, **fields: Any) -> Any:
    infos = [TensorInfo(name, "BF16", shape, (0, 0)) for name, shape in shapes.items()]
    return fit(infos, settings(target_modules=list(KINDS)) if not fields else settings(**fields), BASE)


LORA = pairs(paths(ROOT, 0, 1))
DORA = pairs(paths(ROOT, 0, 1), lora_magnitude_vector=(8,))
IA3: Shapes = {f"base_model.model.{path}.ia3_l": (8, 1) for path in paths(ROOT, 0, 1)}
EMBEDDING: Shapes = {
    "base_model.model.model.embed_tokens.lora_embedding_A": (4, 100),
    "base_model.model.model.embed_tokens.lora_embedding_B": (6, 4),
}
MAGNITUDE = "base_model.model.model.embed_tokens.lora_magnitude_vector"


def test_whole_adapters_of_each_kind_fit() -> None:
    assert len(fitted(LORA).tensors) == 8
    assert len(fitted(DORA, use_dora=True).tensors) == 12
    assert len(fitted(IA3, peft_type="IA3").tensors) == 4
    assert MAGNITUDE in fitted(DORA | EMBEDDING | {MAGNITUDE: (6,)}, use_dora=True).tensors


@pytest.mark.parametrize(
    ("shapes", "fields", "error", "message"),
    [
        pytest.param(LORA, {"use_dora": True}, InvalidSourceError, "has no lora_magnitude_vector, though use_dora is"),
        pytest.param(
            {name: shape for name, shape in DORA.items() if "layers.1.self_attn.v_proj.lora_mag" not in name},
            {"use_dora": True},
            InvalidSourceError,
            "layers.1.self_attn.v_proj has no lora_magnitude_vector",
        ),
        pytest.param(DORA | EMBEDDING, {"use_dora": True}, InvalidSourceError, "embed_tokens has no lora_magnitude"),
        pytest.param(
            DORA | EMBEDDING | {MAGNITUDE: (100,)}, {"use_dora": True}, BaseMismatchError, r"is \[100\], .* needs \[6\]"
        ),
        pytest.param(DORA, {}, InvalidSourceError, "use_dora is not set in adapter_config.json"),
        pytest.param(IA3, {}, InvalidSourceError, "is a tensor of IA3, but .* says peft_type LORA"),
        pytest.param(LORA | {"x.ia3_l": (8, 1)}, {}, InvalidSourceError, "x.ia3_l is a tensor of IA3"),
        pytest.param(LORA, {"peft_type": "IA3"}, InvalidSourceError, "is a tensor of LoRA, but .* says peft_type IA3"),
        pytest.param(LORA | IA3, {"peft_type": "IA3"}, InvalidSourceError, "is a tensor of LoRA"),
    ],
)
def test_what_is_not_what_the_configuration_says_is_named(
    shapes: Shapes, fields: dict[str, Any], error: type[TrainingError], message: str
) -> None:
    with pytest.raises(error, match=message):
        fitted(shapes, **fields)


@pytest.mark.parametrize("named", ["lm_head", "language_model.lm_head", "model.lm_head"])
def test_modules_that_were_saved_whole_are_found_by_either_name(named: str) -> None:
    tensor = f"base_model.model.{named}.weight"
    assert set(fitted(LORA | {tensor: (100, 6)}, modules_to_save=[named]).whole) == {"lm_head.weight"}
    assert set(fitted(LORA | {tensor: (100, 6)}, modules_to_save=["lm_head"]).whole) == {"lm_head.weight"}
