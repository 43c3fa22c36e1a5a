"""What each kind of base can do, held to tiny models of Transformers' own classes.

``GRAFT_FAMILIES_TABLE=docs/bases.md`` writes the table of that document.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.trainer import families
from tests.trainer.bases.families_table import FamiliesTable, FamilyRow
from tests.trainer.conftest import run_document

from graft_registry.documents import BaseManifest
from graft_registry.errors import InvalidModel
from graft_registry.models.fingerprint import identify
from graft_registry.models.layer_paths import is_in_block
from graft_registry.models.training_memory import ModelShape, TrainingSetup, weight_bytes
from graft_trainer.config import RunConfig
from graft_trainer.methods import architectures
from graft_trainer.methods.architectures import layers_of
from graft_trainer.methods.peft_configs import peft_config
from graft_trainer.methods.rehearsal import AdapterPlan, rehearse
from graft_trainer.methods.table import METHODS
from graft_trainer.methods.targets import ALL_LINEAR, DEFAULT_TARGETS
from graft_trainer.model import load_base, load_skeleton
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.publishing.merging import fold_in
from graft_trainer.training.packed_batches import check_rows_are_kept_apart

FOUR = frozenset(DEFAULT_TARGETS)
LATENT = frozenset({"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"})
FEED_FORWARD = ["gate_proj", "up_proj", "down_proj"]
EXPERTS = "4 × experts, which are one stacked tensor"
RENAMED = "12 × layers whose names PEFT takes for experts"


@dataclass(frozen=True)
class Family:
    """What is expected of a model type. ``default``: the names that the field's default stands for."""

    default: frozenset[str] = FOUR
    left_out: str = ""
    merged_only: bool = False
    packs: bool = True


def of(*names: str, **fields: Any) -> Family:
    return Family(frozenset(names), **fields)


FAMILIES: dict[str, Family] = {
    **dict.fromkeys(
        (
            *("llama", "mistral", "ministral", "ministral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
            *("gemma4_text", "olmo2", "olmo3", "granite", "smollm3", "starcoder2", "cohere2", "exaone4", "nemotron"),
            *("seed_oss", "ernie4_5", "apertus", "hunyuan_v1_dense", "mistral3", "gemma3"),
        ),
        Family(),
    ),
    "qwen2_5_vl": Family(packs=False),
    "phi": of("q_proj", "k_proj", "v_proj", "dense"),
    "phi3": of("qkv_proj", "o_proj"),
    "opt": of("q_proj", "k_proj", "v_proj", "out_proj", packs=False),
    "gpt_bigcode": of("c_attn", "c_proj", merged_only=True),
    "glm4": Family(left_out="4 × layers that the engine loads no adapter for"),
    **dict.fromkeys(("mixtral", "qwen3_moe", "olmoe", "phimoe", "granitemoe"), Family(left_out=EXPERTS)),
    "gpt_oss": Family(left_out=EXPERTS, packs=False),
    "qwen2_moe": Family(left_out=f"{RENAMED}, {EXPERTS}"),
    "glm4_moe": Family(left_out=f"{RENAMED}, {EXPERTS.replace('4', '3', 1)}"),
    **dict.fromkeys(
        ("deepseek_v2", "deepseek_v3"), Family(LATENT, left_out=f"{RENAMED}, {EXPERTS.replace('4', '3', 1)}")
    ),
    **dict.fromkeys(("llama4_text", "llama4"), Family(left_out=EXPERTS.replace("4", "2", 1))),
    "qwen3_next": Family(FOUR | {"in_proj_qkvz", "out_proj"}, left_out=f"{RENAMED}, {EXPERTS}", packs=False),
    **dict.fromkeys(("qwen3_5_text", "qwen3_5"), Family(FOUR | {"in_proj_qkv", "in_proj_z", "out_proj"}, packs=False)),
    "qwen3_5_moe_text": Family(FOUR | {"in_proj_qkv", "in_proj_z", "out_proj"}, left_out=EXPERTS, packs=False),
    "granitemoehybrid": Family(left_out=f"6 × state-space layers, {EXPERTS}", packs=False),
    "falcon_h1": Family(left_out="8 × state-space layers", packs=False),
    "nemotron_h": Family(left_out="4 × state-space layers", packs=False),
    "jamba": Family(left_out=f"8 × state-space layers, {EXPERTS.replace('4', '2', 1)}", packs=False),
    "lfm2": of("q_proj", "k_proj", "v_proj", "out_proj", packs=False),
    "lfm2_moe": of("q_proj", "k_proj", "v_proj", "out_proj", left_out=EXPERTS.replace("4", "3", 1), packs=False),
    "stablelm": Family(merged_only=True),
    "gpt2": of("c_attn", "c_proj", merged_only=True),
    "gptj": of("q_proj", "k_proj", "v_proj", "out_proj", merged_only=True),
    "mpt": of("Wqkv", "out_proj", merged_only=True, packs=False),
    "gpt_neox": of("query_key_value", "dense", merged_only=True),
    **dict.fromkeys(("bloom", "falcon"), of("query_key_value", "dense", merged_only=True, packs=False)),
}


@pytest.fixture(scope="session")
def table() -> Iterator[FamiliesTable]:
    table = FamiliesTable()
    yield table
    if path := os.environ.get("GRAFT_FAMILIES_TABLE"):
        table.write(Path(path))


@pytest.fixture(scope="module", params=FAMILIES)
def model_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(model_type: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.save(model_type, tmp_path_factory.mktemp(model_type))


@pytest.fixture(scope="module")
def manifest(folder: Path) -> BaseManifest:
    return families.manifest_of(folder)


def run_of(folder: Path, targets: list[str], *, mode: str = "MultiAdapter", **lora: Any) -> RunConfig:
    """A run document for a base."""
    document = run_document("a", endpoint="http://127.0.0.1:9", base=folder, base_digest="sha256:" + "0" * 64)
    document["dataset"]["source"] = {"s3": {"uri": "s3://data/rows.jsonl"}}
    document["lora"] |= {"targetModules": targets, **lora}
    document["serving"] = {"mode": mode}
    return RunConfig.model_validate_json(json.dumps(document))


def plan_of(folder: Path, manifest: BaseManifest, targets: list[str], mode: str) -> AdapterPlan:
    return rehearse(load_skeleton(folder), run_of(folder, targets, mode=mode), manifest)


def test_the_imports_names_are_those_of_the_model_in_training(folder: Path, manifest: BaseManifest) -> None:
    skeleton = load_skeleton(folder)
    layers = layers_of(skeleton)
    assert set(filter(is_in_block, manifest.linear_modules)) == set(layers.linear)
    for path in layers.linear:
        module = skeleton.get_submodule(path)
        shape = tuple(module.weight.shape)
        assert manifest.linear_modules[path] == (shape[::-1] if "Conv1D" in type(module).__name__ else shape)
    assert manifest.parameters == pytest.approx(layers.total, rel=1e-3)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
def test_the_default_is_attention_whatever_it_is_called_and_all_linear_says_what_it_leaves_out(
    model_type: str, folder: Path, manifest: BaseManifest, table: FamiliesTable
) -> None:
    family = FAMILIES[model_type]
    mode = "Merged" if family.merged_only else "MultiAdapter"
    plans = {name: plan_of(folder, manifest, targets, mode) for name, targets in TARGETS.items()}
    assert {name.rpartition(".")[2] for name in plans["default"].target_modules} == family.default
    shares = [plans[name].adapted_share or 0.0 for name in ("default", "all-linear")]
    assert 0 < shares[0] <= shares[1]
    assert layers_of(load_skeleton(folder)).describe_left_out() == family.left_out
    assert {plan.servable for plan in plans.values()} == {mode}
    table.add(
        FamilyRow(
            model_type=model_type,
            architecture=manifest.fingerprint.architecture,
            default=sorted(family.default),
            left_out=family.left_out,
            served="merged" if family.merged_only else "beside others",
            packs=family.packs,
        )
    )


TARGETS = {"default": list(DEFAULT_TARGETS), "all-linear": [ALL_LINEAR]}


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_learns_packs_and_merges(model_type: str, folder: Path, manifest: BaseManifest) -> None:
    family = FAMILIES[model_type]
    plan = plan_of(folder, manifest, [ALL_LINEAR], "Merged")
    base = load_base(folder, dtype=torch.float32)
    torch.manual_seed(1)
    config = run_of(folder, [ALL_LINEAR], mode="Merged", dropout="0")
    model = get_peft_model(base, peft_config(config, plan.target_modules, base, resumed=None))
    tokens = torch.arange(3, 23)[None]
    model(input_ids=tokens, labels=tokens).loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(parameter.grad, alpha=-0.1).add_(0.01)
    if family.packs:
        check_rows_are_kept_apart(model)
    else:
        with pytest.raises(InvalidConfigError, match="packing"):
            check_rows_are_kept_apart(model)
    model.eval()
    with torch.inference_mode():
        apart = model(input_ids=tokens).logits
        fold_in(model)
        assert torch.allclose(model(input_ids=tokens).logits, apart, atol=1e-3)


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "llama"], indirect=True)
@pytest.mark.filterwarnings("ignore")
def test_the_memory_of_a_base_in_four_bits_counts_what_stays_in_full(folder: Path, manifest: BaseManifest) -> None:
    model = load_base(folder, dtype=torch.float32, method=METHODS["QLoRA"])
    parts = {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}
    held = sum(tensor.numel() * tensor.element_size() for tensor in parts.values())
    setup = TrainingSetup(
        quantized=True, rank=8, target_modules=("q_proj",), batch_size=1, sequence_length=8, value_bytes=4
    )
    assert weight_bytes(ModelShape.of(manifest), setup) == pytest.approx(held, rel=0.05)


@pytest.mark.parametrize("model_type", ["qwen2_moe", "qwen3_moe", "deepseek_v3", "glm4_moe"], indirect=True)
@pytest.mark.parametrize("dropout", ["0", "0.05"])
def test_the_feed_forward_names_of_every_tutorial_are_refused_where_they_are_experts(
    folder: Path, manifest: BaseManifest, dropout: str
) -> None:
    with pytest.raises(InvalidConfigError, match="gate_proj would be taken for the experts") as raised:
        rehearse(load_skeleton(folder), run_of(folder, ["o_proj", *FEED_FORWARD], dropout=dropout), manifest)
    assert raised.value.field == "spec.lora.targetModules"


MIXTURES = [model_type for model_type, family in FAMILIES.items() if "experts" in family.left_out]
NAMES_IN_TUTORIALS = [
    *("experts", "mlp.experts", "block_sparse_moe.experts", "feed_forward.experts"),
    *("experts.gate_up_proj", "experts.down_proj", "mlp.experts.gate_up_proj", "experts.0.w1"),
    *("w1", "w2", "w3", "gate_up_proj", "gate_proj", "up_proj", "down_proj"),
]
"""What people name to adapt experts: parameters of stacked ones, as in PEFT's documentation, or of older models."""


@pytest.mark.parametrize("model_type", MIXTURES, indirect=True)
@pytest.mark.parametrize("mode", ["MultiAdapter", "Merged"])
def test_no_name_adapts_experts_and_each_is_refused_with_what_can_be_adapted(
    model_type: str, folder: Path, manifest: BaseManifest, mode: str
) -> None:
    layers = layers_of(load_skeleton(folder))
    assert layers.stacked_experts
    for name in NAMES_IN_TUTORIALS:
        if any(path.endswith(f".{name}") for path in layers.adaptable):
            # Dense layers, or a shared expert, of the same name, which is a plain layer.
            plan = plan_of(folder, manifest, [name], mode)
            adapted = [path for path in layers.linear if any(path.endswith(end) for end in plan.target_modules)]
            assert adapted
            assert not any(path.startswith(f"{experts}.") for path in adapted for experts in layers.stacked_experts)
            continue
        with pytest.raises(InvalidConfigError, match=r"experts of this base|layer of this base") as raised:
            plan_of(folder, manifest, [name], mode)
        assert raised.value.field == "spec.lora.targetModules"
        assert sorted(FAMILIES[model_type].default)[0] in str(raised.value), "what would do is named"
        if "expert" in name or name in ("gate_up_proj", "down_proj"):
            assert "experts of this base" in str(raised.value)


@pytest.mark.parametrize("model_type", ["llama", "phi3", "mixtral"], indirect=True)
@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["o_proj", "query_key_value"], "query_key_value is no linear layer of this base"),
        (["o_proj", "v_porj"], "v_porj is no linear layer of this base"),
        (["o_proj", "experts"], "experts"),
    ],
)
def test_a_name_that_matches_nothing_is_refused_though_another_does(
    model_type: str, folder: Path, manifest: BaseManifest, targets: list[str], message: str
) -> None:
    with pytest.raises(InvalidConfigError, match=message) as raised:
        rehearse(load_skeleton(folder), run_of(folder, targets), manifest)
    assert raised.value.field == "spec.lora.targetModules"
    assert "o_proj" in str(raised.value)


def test_a_misspelt_name_is_told_the_one_that_was_meant(tmp_path: Path) -> None:
    folder = families.save("llama", tmp_path)
    with pytest.raises(InvalidConfigError, match=r"v_porj is no linear layer of this base \(did you mean v_proj\?\)"):
        rehearse(load_skeleton(folder), run_of(folder, ["q_proj", "v_porj"]), families.manifest_of(folder))


def test_a_base_that_no_engine_adapts_is_refused_beside_others(tmp_path: Path) -> None:
    folder = families.save("stablelm", tmp_path)
    with pytest.raises(InvalidConfigError, match="use mode Merged") as raised:
        rehearse(load_skeleton(folder), run_of(folder, list(DEFAULT_TARGETS)), families.manifest_of(folder))
    assert raised.value.field == "spec.serving.mode"


def test_an_adapter_that_no_server_would_load_is_refused_before_the_first_step(tmp_path: Path) -> None:
    folder = families.save("llama", tmp_path)
    manifest = families.manifest_of(folder)
    known = {name: shape for name, shape in manifest.linear_modules.items() if "layers.3" not in name}
    shallower = manifest.model_copy(update={"linear_modules": known})
    with pytest.raises(InvalidConfigError, match=r"no server would load the adapter: model\.layers\.3"):
        rehearse(load_skeleton(folder), run_of(folder, [ALL_LINEAR]), shallower)
    assert rehearse(load_skeleton(folder), run_of(folder, [ALL_LINEAR], mode="None"), shallower).servable == "Merged"


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_attention_is_refused_at_import(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="a model without attention"):
        identify(families.save("mamba2", tmp_path))


def test_the_table_of_renamed_experts_is_that_of_peft() -> None:
    from peft.utils import transformers_weight_conversion as conversion

    names = conversion._MOE_TARGET_MODULE_MAPPING
    patterns = {**conversion._MODEL_TO_CONVERSION_PATTERN, **{name: name for name in names}}
    renamed = {
        model_type: frozenset(names[pattern])
        for model_type, pattern in patterns.items()
        if pattern in names and model_type.islower()
    }
    assert renamed == architectures.WITH_RENAMED_EXPERTS
