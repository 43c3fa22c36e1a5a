"""What others call the tensors of an adapter, what their configurations say, and where its layers are in the base."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from graft_registry.models.layer_paths import ModuleNames
from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.importing.fitting import Adapted, BaseShapes, fit
from graft_trainer.importing.patterns import ModulePattern
from graft_trainer.importing.scaling import scaling_of
from graft_trainer.importing.settings import AdapterSettings, read_settings
from graft_trainer.importing.tensor_names import TensorRole, check_headers, role_of, roles_of
from graft_trainer.importing.wording import shown
from graft_trainer.outcome import BaseMismatchError, InvalidSourceError

PATH = "model.layers.0.self_attn.q_proj"

ROLES: dict[str, TensorRole | None] = {
    f"base_model.model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"base_model.model.base_model.model.{PATH}.lora_B.weight": TensorRole(PATH, "lora_B"),
    f"{PATH}.lora_A.default.weight": TensorRole(PATH, "lora_A", "default"),
    f"module.base_model.model._orig_mod.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"_fsdp_wrapped_module.base_model.model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"model.base_model.model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"pretrained_model.base_model.model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"_forward_module.module.base_model.model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"pretrained_model.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"_forward_module.{PATH}.lora_A.weight": TensorRole(PATH, "lora_A"),
    f"base_model.model.{PATH}.lora_magnitude_vector": TensorRole(PATH, "lora_magnitude_vector"),
    f"base_model.model.{PATH}.lora_magnitude_vector.default.weight": TensorRole(
        PATH, "lora_magnitude_vector", "default"
    ),
    f"base_model.model.{PATH}.lora_B.bias": TensorRole(PATH, "lora_B.bias"),
    f"base_model.model.{PATH}.base_layer.bias": TensorRole(PATH, "base_layer.bias"),
    f"base_model.model.{PATH}.ia3_l": TensorRole(PATH, "ia3_l"),
    "base_model.model.model.embed_tokens.lora_embedding_A": TensorRole("model.embed_tokens", "lora_embedding_A"),
    "base_model.model.model.embed_tokens.lora_embedding_B.default": TensorRole(
        "model.embed_tokens", "lora_embedding_B", "default"
    ),
    "base_model.model.model.embed_tokens.base_layer.weight": TensorRole("model.embed_tokens", "base_layer"),
    "base_model.model.lm_head.weight": TensorRole("lm_head", "weight"),
    "base_model.model.lm_head.modules_to_save.default.weight": TensorRole("lm_head", "weight", "default"),
    "base_model.model.lm_head.original_module.weight": None,
}


@pytest.mark.parametrize(("name", "role"), ROLES.items(), ids=ROLES)
def test_a_tensor_is_what_its_name_says(name: str, role: TensorRole | None) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize(
    "name",
    [
        *("prompt_embeddings", f"{PATH}.hada_w1_a", f"{PATH}.lora_A.a.b.weight", "lora_A.weight", "", "weight"),
        *("module", "module.module", "base_model.model", "base_model.model.module", "model.base_model.model.weight"),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidSourceError, match="PEFT's are called"):
        role_of(name)


def test_a_module_that_is_saved_twice_within_a_wrapper_is_one() -> None:
    names = [f"model.base_model.model.lm_head.{part}weight" for part in ("", "modules_to_save.default.")]
    assert list(roles_of(names)) == names[:1]


def test_the_same_tensor_twice_is_refused() -> None:
    names = [f"base_model.model.{PATH}.lora_A.weight", f"{PATH}.lora_A.weight"]
    with pytest.raises(InvalidSourceError, match="the same tensor under two names"):
        roles_of(names)


LLAMA = {f"model.layers.{block}.self_attn.q_proj" for block in range(2)} | {"lm_head", "model.embed_tokens"}
WRAPPED = {name.replace("model.", "model.language_model.") for name in LLAMA}
GPT2 = {"transformer.h.0.attn.c_attn", "transformer.wte", "lm_head"}

FOUND: dict[str, tuple[set[str], str, str | None]] = {
    "as it is": (LLAMA, "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj"),
    "of a larger model": (LLAMA, "model.language_model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj"),
    "of an older larger one": (LLAMA, "language_model.model.layers.1.self_attn.q_proj", PATH.replace("0", "1")),
    "of the language model alone": (WRAPPED, PATH, "model.language_model.layers.0.self_attn.q_proj"),
    "without the outermost part": (LLAMA, "layers.0.self_attn.q_proj", PATH),
    "GPT-2 as its first files": (GPT2, "h.0.attn.c_attn", "transformer.h.0.attn.c_attn"),
    "a head within": (LLAMA, "language_model.lm_head", "lm_head"),
    "an embedding elsewhere": (WRAPPED, "model.embed_tokens", "model.language_model.embed_tokens"),
    "a block that isn't there": (LLAMA, "model.layers.2.self_attn.q_proj", None),
    "another layer": (LLAMA, "model.layers.0.self_attn.qkv_proj", None),
    "a layer for pictures": (LLAMA, "vision_tower.encoder.layers.0.self_attn.q_proj", None),
    "a layer for pictures in blocks": (LLAMA, "model.visual.blocks.0.attn.qkv", None),
    "a classifier": (LLAMA, "score", None),
}


@pytest.mark.parametrize(("modules", "name", "found"), FOUND.values(), ids=FOUND)
def test_a_module_is_found_by_its_name_in_another_layout(modules: set[str], name: str, found: str | None) -> None:
    assert ModuleNames(modules).find(name) == found


def settings(**fields: Any) -> AdapterSettings:
    return read_settings(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | fields))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "peft_type is missing"),
        ('{"fine_tune_type": "lora"}', "mlx-lm's"),
        ('{"peft_type": "LORA", "r": 0}', "r: "),
        ('{"peft_type": "LORA", "lora_alpha": NaN}', "lora_alpha: "),
        ('{"peft_type": "LORA", "rank_pattern": {"q": "x"}}', r"rank_pattern\.q: "),
        ('{"peft_type": "LORA", "target_modules": [[1]]}', "target_modules"),
        ('{"peft_type": "P_TUNING"}', "before the first token"),
        ('{"peft_type": "LORA", "init_lora_weights": "pissa_niter_16"}', "LLaMA-Factory: the folder pissa_converted"),
        ('{"peft_type": "LORA", "init_lora_weights": "tomorrow"}', "which this release doesn't know"),
        ('{"peft_type": "LORA", "auto_mapping": {"base_model_class": "BertModel"}}', "auto_mapping is BertModel"),
        (
            '{"peft_type": "LORA", "auto_mapping": {"base_model_class": ["OptimizedModule"]}}',
            "only adapters that write",
        ),
        ('{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "r": 16}', "r is there twice"),
        ('{"peft_type": "LORA", "alpha_pattern": {"q_proj": 8, "q_proj": 16}}', "q_proj is there twice"),
        ('{"peft_type": "PeftType.VERA"}', "peft_type is VERA: only LORA and IA3"),
        ('{"peft_type": "LORA", "use_rslora": "sometimes"}', "use_rslora: .*has to be true or false"),
        ('{"peft_type": "LORA", "use_dora": 2}', "use_dora: .*has to be true or false"),
        ('{"peft_type": "LORA", "use_dora": [false]}', "use_dora: .*has to be true or false"),
        ('{"peft_type": "LORA", "lora_bias": "true"}', "lora_bias is set"),
        ('{"peft_type": "LORA", "later": [1]}', "later is set, which this release doesn't know"),
        (
            '{"peft_type": "LORA", "ensure_weight_tying": true, "target_modules": ["embed_tokens"]}',
            "ensure_weight_tying is set",
        ),
        ("[" * 100_000, "not JSON"),
        ('{"peft_type": "LORA", "lora_dropout": NaN}', "lora_dropout: "),
        ('{"peft_type": "LORA", "lora_dropout": 5.0}', "lora_dropout: Input should be less than 1"),
        ('{"peft_type": "LORA", "lora_dropout": -0.1}', "lora_dropout: "),
        ('{"peft_type": "LORA", "lora_alpha": 1' + "0" * 400 + "}", "lora_alpha: "),
        (
            json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x" * 1025}),
            "base_model_name_or_path: String should have at most 1024 characters",
        ),
        ('{"peft_type": "\\ud800"}', r"peft_type: holds '\\ud800', which is no character"),
        ('{"peft_type": "LORA", "init_lora_weights": "\\ud800"}', "init_lora_weights: holds"),
        ('{"peft_type": "LORA", "base_model_name_or_path": "x\\udfff"}', "base_model_name_or_path: holds"),
        ('{"peft_type": "LORA", "alpha_pattern": {"q\\udce9": 2}}', "alpha_pattern: holds"),
        ('{"peft_type": "LORA", "target_modules": [["\\udce9"]]}', "target_modules: holds"),
        ('{"peft_type": "LORA", "\\udce9": 1}', r"\?: holds"),
    ],
)
def test_a_configuration_that_is_refused_names_the_field(text: str, message: str) -> None:
    with pytest.raises(InvalidSourceError, match=message) as refused:
        read_settings(text)
    assert str(refused.value).encode()


def test_a_whole_pair_of_surrogates_is_a_character() -> None:
    text = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "llama-\N{LLAMA}"})
    assert "\\ud83e\\udd99" in text
    assert read_settings(text).base_model_name_or_path == "llama-\N{LLAMA}"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rank_pattern": None, "alpha_pattern": None, "modules_to_save": None, "bias": None, "init_lora_weights": None},
        {"enable_lora": None, "merge_weights": False, "fan_in_fan_out": False},
        {"later": False, "much_later": None, "later_still": {}, "latest": []},
        {"eva_config": {"rho": 2.0}, "init_lora_weights": "eva"},
        {"modules_to_save": "lm_head"},
        {"ensure_weight_tying": True, "target_modules": ["q_proj"]},
        {"use_rslora": "false", "use_dora": "False"},
        {"use_rslora": None, "use_dora": 0, "lora_bias": "none", "later": "False"},
        {"peft_type": "PeftType.LORA", "task_type": "TaskType.CAUSAL_LM"},
        {"auto_mapping": {"base_model_class": "OptimizedModule", "parent_library": "torch._dynamo.eval_frame"}},
        {"swift_type": "LORA", "lora_dtype": "AUTO", "lorap_lr_ratio": 16.0, "lorap_emb_lr": 1e-06},
        {"runtime_config": {"ephemeral_gpu_offload": False}, "qalora_group_size": 16, "megatron_core": "megatron.core"},
    ],
)
def test_a_configuration_of_any_release_is_read(fields: dict[str, Any]) -> None:
    assert settings(**fields).method == "LoRA"


@pytest.mark.parametrize(("text", "method"), [("true", "RsLoRA"), (" True", "RsLoRA"), (1, "RsLoRA"), ("", "LoRA")])
def test_a_flag_is_what_it_says(text: object, method: str) -> None:
    assert settings(use_rslora=text).method == method


LONG = "X" * 900_000


@pytest.mark.parametrize(
    "fields",
    [
        {"peft_type": LONG},
        {"peft_type": "LORA", "task_type": LONG},
        {"peft_type": "LORA", "auto_mapping": {"base_model_class": LONG}},
        {"peft_type": "LORA", "init_lora_weights": LONG},
        {"peft_type": "LORA", "init_lora_weights": "pissa" + LONG},
        {"peft_type": "LORA", LONG: 1},
        {"peft_type": "LORA", "rank_pattern": {LONG: 0}},
        {"peft_type": "LORA", "use_dora": LONG},
        {"peft_type": "LORA\n\x1b[31mERROR all is lost\u202e\r"},
    ],
)
def test_no_value_from_outside_ousts_the_advice_or_writes_to_a_terminal(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSourceError) as refused:
        read_settings(json.dumps(fields))
    message = str(refused.value)
    assert len(message) < 800
    assert message.isprintable()
    assert re.search("PEFT writes no such value$|make a BaseModel of the result$|train it as one$", message)


def test_long_names_keep_their_beginning_and_their_end() -> None:
    assert shown(f"{PATH}.lora_A.weight") == f"{PATH}.lora_A.weight"
    assert re.fullmatch("model\\.(x{90,})…(x{80,})\\.lora_A", shown("model." + "x" * 10_000 + ".lora_A"))
    assert shown("a\tb\x00c\ud800") == "a\\tb\\x00c\\ud800"


def layer(rank: int, named: str = PATH) -> Adapted:
    return Adapted(named, {}, rank)


def test_one_scale_is_kept_and_the_others_go_into_the_matrices() -> None:
    adapted = {"a": layer(4, "x.a"), "b": layer(4, "x.b"), "c": layer(2, "x.c"), "d": layer(4, "x.d")}
    found = scaling_of(adapted, settings(rank_pattern={"c": 2}, alpha_pattern={"x.d": 24}))
    assert (found.rank, found.alpha) == (4, 8)
    assert (found.rank_pattern, found.alpha_pattern) == ({"c": 2}, {"c": 4})
    assert found.factors == {"c": 2.0, "d": 3.0}


def test_the_scale_of_rank_stabilised_adapters_is_by_the_root() -> None:
    adapted = {"a": layer(16, "a"), "b": layer(16, "b"), "c": layer(4, "c")}
    found = scaling_of(adapted, settings(r=16, use_rslora=True, rank_pattern={"c": 4}))
    assert (found.rank, found.alpha, found.alpha_pattern, found.factors) == (16, 8, {"c": 4}, {"c": 2.0})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"lora_alpha": 5e-324}, "lora_alpha is 5e-324"),
        ({"lora_alpha": 1e300}, r"lora_alpha is 1e\+300"),
        ({"alpha_pattern": {"b": 1e300}}, r"alpha_pattern: b is 1e\+300"),
        ({"alpha_pattern": {"b": 5e-324}}, "alpha_pattern: b is 5e-324"),
        ({"alpha_pattern": {"x.": 4, "b": 1e-300}, "use_rslora": True}, "alpha_pattern: b is 1e-300"),
    ],
)
def test_a_scale_that_no_engine_can_calculate_with_is_refused(fields: dict[str, Any], field: str) -> None:
    adapted = {"a": layer(4, "x.a"), "b": layer(4, "x.b"), "c": layer(4, "x.c")}
    with pytest.raises(InvalidSourceError, match=f"adapter_config.json: {field}, which scales x"):
        scaling_of(adapted, settings(**fields))


PATTERNS = [
    *("q_proj", "proj", "self_attn.q_proj", PATH, f"^{PATH}$", f"^{PATH}", "q_proj$", "^q_proj", "layers.0", ""),
    *(r".*\.q_proj", r"^.*\.q_proj$", ".*q_proj", ".*", ".*k_proj", r"^model\.layers\.0\.self_attn\.q_proj$"),
    *(r"model\.layers\.0\..*\.q_proj", r"^layers\.0\..*q_proj", r"layers\.0.*", r".*layers.0.*proj", "q.proj", "..*"),
    *(r".*a.*a.*", r".*q.*q_proj", r".*\.layers\..*\.layers\..*", f"x.{PATH}", r"q\_proj", "model.*model.*"),
]
MODULES = [
    PATH,
    f"x.{PATH}",
    "model.layers.10.self_attn.q_proj",
    "q_proj",
    "lm_head",
    "transformer.h.0.attn.c_attn",
    "model.embed",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_peft_matches_with_it(pattern: str) -> None:
    read = ModulePattern.parse(pattern)
    # As peft.utils.other.get_pattern_key does.
    matched = {module for module in MODULES if re.match(rf"(.*\.)?({pattern})$", module)}
    assert {module for module in MODULES if read.matches(module)} == matched


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(.*a){30}", "*(", r"layers\.\d+\.q_proj", "q|v", "[qv]_proj", "a.*?", "a?", "a+", "a^", r"a\.*", "a\\"],
)
def test_a_pattern_that_would_have_to_be_evaluated_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSourceError, match=rf"alpha_pattern: {re.escape(pattern)} is an expression"):
        scaling_of({"a": layer(4, "a" * 40 + "!")}, settings(alpha_pattern={pattern: 2}))


def test_a_pattern_of_nothing_but_anything_is_done_with_at_once() -> None:
    pattern = ".*".join("a" * 60) + ".*b.*"
    begin = time.process_time()
    assert not ModulePattern.parse(pattern).matches("a." * 200)
    assert time.process_time() - begin < 5


BASE = BaseShapes(
    name="tiny",
    linear={f"model.layers.{block}.self_attn.{name}": (8, 8) for block in range(2) for name in ("q_proj", "v_proj")}
    | {"model.embed_tokens": (100, 8), "lm_head": (100, 8)},
    parameters={"model.embed_tokens.weight": (100, 8), "lm_head.weight": (100, 8), "model.norm.weight": (8,)},
)


def tensors(shapes: dict[str, tuple[int, ...]]) -> list[TensorInfo]:
    return [TensorInfo(name, "BF16", shape, (0, 0)) for name, shape in shapes.items()]


def pairs(*modules: str, rows: int = 8) -> dict[str, tuple[int, ...]]:
    return {
        f"base_model.model.{module}.{part}.weight": shape
        for module in modules
        for part, shape in (("lora_A", (4, 8)), ("lora_B", (rows, 4)))
    }


QUERIES = [f"model.layers.{block}.self_attn.q_proj" for block in range(2)]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorInfo(f"{PATH}.lora_B.weight", "F6_E2M3", (8, 4), (0, 24)), "is stored as F6_E2M3"),
        (TensorInfo(f"{PATH}.lora_B.weight", "F4", (8, 4), (0, 16)), "is stored as F4"),
        (TensorInfo(f"{PATH}.lora_B.weight", "F8_E4M3", (8, 4), (0, 32)), "is stored as F8_E4M3"),
        (TensorInfo(f"{PATH}\ud800.lora_B.weight", "BF16", (8, 4), (0, 64)), r"q_proj\\ud800.* isn't text"),
        (TensorInfo(f"{PATH}.lora_B.weight", "BF16", (0,), (0, 0)), r"is empty \(\[0\]\), as DeepSpeed ZeRO-3"),
        (TensorInfo(f"{PATH}.lora_B.weight", "BF16", (2**70, 0), (0, 0)), "is empty"),
        (TensorInfo("." * 9_000_000, "BF16", (1,), (0, 2)), r"has 9000000 characters \(\.+…\.+\), at most 1024"),
        (TensorInfo(f"base_model.model.{PATH}.lora_B.weight", "BF16", (8, 4), (0, 64)), "is in two of the files"),
    ],
)
def test_a_tensor_that_nothing_could_open_is_refused_by_its_header(tensor: TensorInfo, message: str) -> None:
    with pytest.raises(InvalidSourceError, match=message) as refused:
        check_headers([*tensors(pairs(PATH)), tensor])
    assert str(refused.value).encode()


def test_every_tensor_gets_its_place() -> None:
    extra = {"base_model.model.model.norm.weight": (8,), "base_model.model.lm_head.base_layer.weight": (100, 8)}
    fitted = fit(tensors(pairs(*QUERIES) | extra), settings(target_modules=["q_proj"], modules_to_save=["norm"]), BASE)
    assert set(fitted.adapted) == set(QUERIES)
    assert set(fitted.whole) == {"model.norm.weight"}
    assert set(fitted.copies) == {"lm_head.weight"}
    assert set(fitted.tensors) == {*pairs(*QUERIES), "base_model.model.model.norm.weight"}


@pytest.mark.parametrize(
    ("shapes", "fields", "message"),
    [
        pytest.param(pairs(*QUERIES, rows=16), {}, r"is \[16, 4\], base tiny needs \[8, 4\]", id="another size"),
        pytest.param(pairs("model.layers.0.mlp.up_proj"), {}, "has q_proj, v_proj in 2 blocks", id="another layer"),
        pytest.param(pairs(QUERIES[0]), {}, "no tensors for model.layers.1.self_attn.q_proj", id="cut short"),
        pytest.param(
            pairs(*QUERIES) | {"base_model.model.lm_head.weight": (103, 8)},
            {"modules_to_save": ["lm_head"]},
            "the vocabulary was resized",
            id="tokens were added",
        ),
        pytest.param(pairs(*QUERIES) | {"score.weight": (2, 8)}, {}, "score, which base tiny", id="a classifier"),
    ],
)
def test_what_does_not_fit_the_base_is_named(
    shapes: dict[str, tuple[int, ...]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(BaseMismatchError, match=message):
        fit(tensors(shapes), settings(target_modules=["q_proj", "up_proj"], **fields), BASE)


def test_a_layer_for_pictures_that_no_training_has_reached_is_left_out() -> None:
    picture = "model.vision_tower.layers.0.q_proj"
    shapes = tensors(pairs(*QUERIES, picture))
    with pytest.raises(BaseMismatchError, match=picture):
        fit(shapes, settings(target_modules=["q_proj"]), BASE)
    zeros = [f"base_model.model.{picture}.lora_B.weight"]
    assert set(fit(shapes, settings(target_modules=["q_proj"]), BASE, zeros=zeros).adapted) == set(QUERIES)


def test_layers_that_were_chosen_are_enough() -> None:
    chosen = settings(target_modules=["q_proj"], layers_to_transform=[1])
    assert set(fit(tensors(pairs(QUERIES[1])), chosen, BASE).adapted) == {QUERIES[1]}
