"""Which adapters may be loaded onto a base, one English sentence a case."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import (
    HIDDEN,
    VOCABULARY,
    Tensors,
    adapter_config,
    adapter_tensors,
    base_manifest,
    tensor_infos,
    version_on,
    write_model,
)

from graft_registry.adapters.compatibility import RefusalReason, check_adapter, check_version
from graft_registry.digests import digest_of
from graft_registry.documents import BaseManifest
from graft_registry.models.safetensors_header import TensorInfo

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"
Q1 = "base_model.model.model.layers.1.self_attn.q_proj"
EMBEDDING = "base_model.model.model.embed_tokens"
OUTPUT = "base_model.model.lm_head"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseManifest:
    return base_manifest(write_model(tmp_path_factory.mktemp("base")))


def without(tensors: Tensors, *names: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


EMBEDDING_TENSORS: Tensors = {
    f"{EMBEDDING}.base_layer.weight": ("F32", (VOCABULARY, HIDDEN)),
    f"{EMBEDDING}.lora_embedding_A": ("F32", (4, VOCABULARY)),
    f"{EMBEDDING}.lora_embedding_B": ("F32", (HIDDEN, 4)),
}
OUTPUT_TENSORS: Tensors = {
    f"{OUTPUT}.base_layer.weight": ("F32", (VOCABULARY, HIDDEN)),
    f"{OUTPUT}.lora_A.weight": ("F32", (4, HIDDEN)),
    f"{OUTPUT}.lora_B.weight": ("F32", (VOCABULARY, 4)),
}


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        pytest.param({}, adapter_tensors(), id="a plain LoRA adapter"),
        pytest.param({"use_rslora": True}, adapter_tensors(), id="a rank-stabilised one"),
        pytest.param({"init_lora_weights": "eva"}, adapter_tensors(), id="one initialised by EVA"),
        pytest.param({"r": 16}, adapter_tensors(rank=16), id="one of exactly the engine's rank"),
        pytest.param(
            {"rank_pattern": {"layers.0.self_attn.q_proj": 2}},
            {
                **adapter_tensors(),
                f"{Q0}.lora_A.weight": ("F32", (2, HIDDEN)),
                f"{Q0}.lora_B.weight": ("F32", (HIDDEN, 2)),
            },
            id="one with another rank in one layer",
        ),
        pytest.param(
            {"target_modules": ["model.layers.0.self_attn.q_proj"]},
            {name: tensor for name, tensor in adapter_tensors().items() if name.startswith(Q0)},
            id="one that targets a layer by its full path",
        ),
        pytest.param(
            {"layers_to_transform": [0]},
            adapter_tensors(layers=1),
            id="one that is meant for the first layer only",
        ),
        pytest.param(
            {"exclude_modules": ["layers.1.self_attn.q_proj"]},
            without(adapter_tensors(), f"{Q1}.lora_A.weight", f"{Q1}.lora_B.weight"),
            id="one that leaves a layer out on purpose",
        ),
        pytest.param({"target_modules": r".*\.(q|v)_proj"}, adapter_tensors(), id="one whose targets are a pattern"),
        pytest.param(
            {"target_modules": ["q_proj", "v_proj", "embed_tokens", "lm_head"]},
            {**adapter_tensors(), **EMBEDDING_TENSORS, **OUTPUT_TENSORS},
            id="one that adapts the embedding and the tied output layer",
        ),
        pytest.param({"an_option_of_next_year": None}, adapter_tensors(), id="one with an unset option we don't know"),
    ],
)
def test_a_fitting_adapter_is_accepted(base: BaseManifest, config: dict[str, Any], tensors: Tensors) -> None:
    assert check_adapter(adapter_config(**config), tensor_infos(tensors), base, max_rank=16) is None


@pytest.mark.parametrize(
    ("config", "tensors", "reason", "message"),
    [
        pytest.param({"use_dora": True}, adapter_tensors(), "MethodNotServable", "use_dora", id="DoRA"),
        pytest.param({"peft_type": "IA3"}, {}, "MethodNotServable", "IA3", id="IA3"),
        pytest.param({"peft_type": "PREFIX_TUNING"}, {}, "MethodNotServable", "PREFIX", id="prefix tuning"),
        pytest.param(
            {"modules_to_save": ["lm_head"]},
            adapter_tensors(),
            "MethodNotServable",
            "modules_to_save",
            id="full layers",
        ),
        pytest.param(
            {"init_lora_weights": "pissa_niter_4"},
            adapter_tensors(),
            "MethodNotServable",
            "pissa",
            id="unconverted PiSSA",
        ),
        pytest.param({"init_lora_weights": "olora"}, adapter_tensors(), "MethodNotServable", "olora", id="OLoRA"),
        pytest.param({"bias": "all"}, adapter_tensors(), "MethodNotServable", "bias", id="trained biases"),
        pytest.param(
            {"trainable_token_indices": [3]}, adapter_tensors(), "MethodNotServable", "trainable_token", id="new tokens"
        ),
        pytest.param(
            {"auto_mapping": {"library": "evil"}},
            adapter_tensors(),
            "MethodNotServable",
            "auto_mapping",
            id="code",
        ),
        pytest.param({"r": 17}, adapter_tensors(rank=17), "RankTooHigh", "rank 17 is above the 16", id="a high rank"),
        pytest.param(
            {"rank_pattern": {"q_proj": 64}}, adapter_tensors(), "RankTooHigh", "rank 64", id="a high rank in one layer"
        ),
        pytest.param({"r": "four"}, adapter_tensors(), "InvalidConfig", "r: ", id="a rank that isn't a number"),
        pytest.param({"r": 0}, adapter_tensors(), "InvalidConfig", "r: ", id="no rank"),
        pytest.param({"peft_type": None}, adapter_tensors(), "InvalidConfig", "peft_type: ", id="no method"),
        pytest.param(
            {},
            {**adapter_tensors(), f"{Q0}.lora_magnitude_vector": ("F32", (8,))},
            "UnexpectedTensor",
            "lora_magnitude_vector",
            id="a tensor that LoRA doesn't have",
        ),
        pytest.param(
            {},
            {"model.layers.0.x.lora_A.weight": ("F32", (4, 8))},
            "UnexpectedTensor",
            "model.layers",
            id="other names",
        ),
        pytest.param(
            {},
            {**adapter_tensors(), "base_model.model.lora_A.weight": ("F32", (4, HIDDEN))},
            "UnexpectedTensor",
            "base_model.model.lora_A.weight",
            id="a tensor of no module",
        ),
        pytest.param({}, {}, "MissingTensor", "no LoRA tensors", id="an empty file"),
        pytest.param(
            {}, adapter_tensors(layers=3), "ModuleUnknown", "model.layers.2.self_attn.q_proj", id="a deeper base's"
        ),
        pytest.param({}, adapter_tensors(layers=1), "MissingTensor", "model.layers.1", id="a shallower base's"),
        pytest.param(
            {"exclude_modules": ".*visual.*"},
            adapter_tensors(layers=1),
            "MissingTensor",
            "model.layers.1",
            id="a shallower base's that leaves layers out by a pattern",
        ),
        pytest.param(
            {"target_modules": r".*\.(q|v)_proj"},
            adapter_tensors(layers=1),
            "MissingTensor",
            "model.layers.1",
            id="a shallower base's whose targets are a pattern",
        ),
        pytest.param(
            {"target_modules": r"(?!vision).*\.(q|v)_proj"},
            without(adapter_tensors(), f"{Q1}.lora_A.weight", f"{Q1}.lora_B.weight"),
            "MissingTensor",
            "model.layers.1.self_attn.q_proj",
            id="a layer left out of a pattern that can't be matched safely",
        ),
        pytest.param({}, adapter_tensors(hidden=4), "ShapeMismatch", r"lora_A is \[4, 4\]", id="a narrower base's"),
        pytest.param({"r": 8}, adapter_tensors(), "ShapeMismatch", "has rank 4", id="a rank that the config denies"),
        pytest.param(
            {},
            {**adapter_tensors(), f"{Q0}.lora_B.weight": ("F32", (HIDDEN, 2))},
            "ShapeMismatch",
            r"lora_B is \[8, 2\], the base needs \[8, 4\]",
            id="halves of different rank",
        ),
        pytest.param(
            {},
            {**adapter_tensors(), f"{Q0}.lora_A.weight": ("F32", ())},
            "ShapeMismatch",
            "has rank 0",
            id="a number in place of a matrix",
        ),
        pytest.param(
            {}, without(adapter_tensors(), f"{Q0}.lora_B.weight"), "MissingTensor", "no lora_B", id="half a pair"
        ),
        pytest.param(
            {"target_modules": ["lm_head", "q_proj", "v_proj"]},
            {**adapter_tensors(), f"{OUTPUT}.base_layer.weight": ("F32", (VOCABULARY, HIDDEN))},
            "MissingTensor",
            "lm_head has no lora_A",
            id="a copy of the base's layer without its adapter",
        ),
        pytest.param(
            {},
            without(adapter_tensors(), f"{Q1}.lora_A.weight", f"{Q1}.lora_B.weight"),
            "MissingTensor",
            "model.layers.1.self_attn.q_proj",
            id="a targeted layer left out",
        ),
        pytest.param(
            {"target_modules": "all-linear"}, adapter_tensors(), "MissingTensor", "up_proj", id="all layers promised"
        ),
        pytest.param(
            {},
            {**adapter_tensors(), f"{Q0}.lora_A.weight": ("I8", (4, HIDDEN))},
            "ShapeMismatch",
            "stored as I8",
            id="integers in place of weights",
        ),
    ],
)
def test_a_misfit_is_refused_with_its_reason(
    base: BaseManifest, config: dict[str, Any], tensors: Tensors, reason: str, message: str
) -> None:
    refusal = check_adapter(adapter_config(**config), tensor_infos(tensors), base, max_rank=16)
    assert refusal is not None
    assert refusal.reason == reason
    assert re.search(message, refusal.message)


def test_a_version_of_this_base_is_accepted(base: BaseManifest) -> None:
    refusal = check_version(version_on(base), adapter_config(), tensor_infos(adapter_tensors()), base, max_rank=16)
    assert refusal is None


def test_a_version_of_another_base_of_the_same_shapes_is_refused(base: BaseManifest, tmp_path: Path) -> None:
    other = base_manifest(write_model(tmp_path, fill=b"\1"))
    assert other.linear_modules == base.linear_modules
    refusal = check_version(version_on(other), adapter_config(), tensor_infos(adapter_tensors()), base, max_rank=16)
    assert refusal is not None
    assert refusal.reason is RefusalReason.BASE_DIGEST_MISMATCH
    assert other.digest in refusal.message
    assert base.digest in refusal.message


OTHER = digest_of("other")


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        pytest.param({"tokenizer_digest": OTHER}, " with another tokenizer, but", id="the tokenizer"),
        pytest.param({"chat_template_digest": OTHER}, " with another chat template, but", id="the chat template"),
        pytest.param(
            {"tokenizer_digest": OTHER, "chat_template_digest": OTHER},
            " with another tokenizer and chat template, but",
            id="both",
        ),
        pytest.param({"tokenizer_digest": None, "chat_template_digest": None}, f"{OTHER}, but", id="nothing is known"),
    ],
)
def test_what_else_differs_of_another_base_is_named(
    base: BaseManifest, recorded: dict[str, str | None], said: str
) -> None:
    version = version_on(base)
    elsewhere = version.base.model_copy(update={"digest": OTHER} | recorded)
    version = version.model_copy(update={"base": elsewhere})
    refusal = check_version(version, adapter_config(), tensor_infos(adapter_tensors()), base, max_rank=16)
    assert refusal is not None
    assert refusal.reason is RefusalReason.BASE_DIGEST_MISMATCH
    assert said in refusal.message


@pytest.mark.parametrize("servable", ["Merged", "None"])
def test_a_version_that_is_not_for_sharing_an_engine_is_refused(base: BaseManifest, servable: str) -> None:
    version = version_on(base, servable=servable, method="DoRA")
    refusal = check_version(version, adapter_config(), tensor_infos(adapter_tensors()), base, max_rank=16)
    assert refusal is not None
    assert refusal.reason is RefusalReason.METHOD_NOT_SERVABLE


def test_an_adapter_of_an_eight_billion_parameter_model_is_judged_within_five_milliseconds(
    base: BaseManifest,
) -> None:
    shapes = {
        f"model.layers.{layer}.{module}": (4096, 4096)
        for layer in range(32)
        for module in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    large = base.model_copy(update={"linear_modules": shapes})
    tensors = [
        TensorInfo(f"base_model.model.{module}.lora_{half}.weight", "F32", shape, (0, 0))
        for module in shapes
        for half, shape in (("A", (16, 4096)), ("B", (4096, 16)))
    ]
    config = adapter_config(r=16, target_modules="all-linear")

    def seconds() -> float:
        start = time.process_time()  # what other processes take of the machine counts for nothing
        assert check_adapter(config, tensors, large, max_rank=16) is None
        return time.process_time() - start

    assert min(seconds() for _ in range(30)) < 0.005
