"""The estimate of a training's memory, against what others measured and against the rules that it must follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import base_manifest
from tests.unit.registry.published_memory import (
    LLAMA_2_7B,
    LLAMA_65B,
    PUBLISHED,
    Published,
    setup,
    table,
)

from graft_registry.models.training_memory import (
    ERROR,
    MemoryEstimate,
    ModelShape,
    estimate_cpu,
    estimate_gpu,
    host_bytes_beside_gpu,
    linear_layers,
)

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "memory.md"
MODEL_SIZE = 2 * LLAMA_2_7B.parameters
"""Bytes of the 7B base in 16 bits."""


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED)
def test_the_estimate_is_within_its_error_of_what_was_measured(case: Published) -> None:
    assert abs(case.error) <= ERROR


def test_the_document_shows_what_the_estimator_says() -> None:
    assert table() in DOCUMENT.read_text(encoding="utf-8")


def test_lora_takes_little_more_than_the_model_and_qlora_about_half() -> None:
    assert estimate_gpu(LLAMA_2_7B, setup()).total / MODEL_SIZE == pytest.approx(1.2, abs=0.1)
    assert estimate_gpu(LLAMA_2_7B, setup(quantized=True)).total / MODEL_SIZE == pytest.approx(0.5, abs=0.1)


def test_65_billion_parameters_fit_48_gigabytes_only_in_4_bits() -> None:
    available = 48 << 30
    assert not estimate_gpu(LLAMA_65B, setup(quantized=True, rank=64, sequence_length=512)).cannot_fit(available)
    assert estimate_gpu(LLAMA_65B, setup(rank=64, sequence_length=512)).cannot_fit(available)


SAVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a lower rank": ({"rank": 8}, {"rank": 64}),
    "fewer adapted layers": ({"target_modules": ("q_proj",)}, {"target_modules": ("q_proj", "v_proj")}),
    "fewer rows": ({"batch_size": 1}, {"batch_size": 2}),
    "shorter rows": ({"sequence_length": 512}, {"sequence_length": 513}),
    "fewer bytes of a value": ({"value_bytes": 2}, {"value_bytes": 4}),
    "4 bits": ({"quantized": True}, {}),
    "gradient checkpointing": ({}, {"gradient_checkpointing": False}),
    "no dropout": ({}, {"dropout": True}),
    "sharding": ({"shards": 2}, {}),
    "more shards": ({"shards": 8}, {"shards": 2}),
    "no ranks at all": ({"rank": 0}, {"rank": 1}),
    "the base's own context": ({}, {"long_context": True}),
    "one answer to a prompt": ({}, {"answers_per_row": 2}),
    "the base as reference": ({}, {"copies_adapter": True}),
}


@pytest.mark.parametrize(("less", "more"), SAVES.values(), ids=SAVES)
def test_memory_is_saved_by(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert estimate_gpu(LLAMA_2_7B, setup(**less)).total < estimate_gpu(LLAMA_2_7B, setup(**more)).total


def test_a_pair_takes_what_two_rows_take() -> None:
    pair, rows = (
        estimate_gpu(LLAMA_2_7B, setup(gradient_checkpointing=False, **shape))
        for shape in ({"batch_size": 1, "answers_per_row": 2}, {"batch_size": 2})
    )
    assert pair == rows


def test_a_long_context_trains_the_embeddings_and_needs_no_mask() -> None:
    rows = {"batch_size": 4, "sequence_length": 8192, "gradient_checkpointing": False}
    whole, grouped = (estimate_gpu(LLAMA_2_7B, setup(long_context=long, **rows)) for long in (False, True))
    assert grouped.adapter - whole.adapter == 16 * 32_000 * 4096
    assert whole.activations - grouped.activations == 4 * 8192 * 32 * 8192 * 2


def test_naming_every_layer_is_the_same_as_all_of_them() -> None:
    named = setup(target_modules=tuple(LLAMA_2_7B.linear))
    assert estimate_gpu(LLAMA_2_7B, named) == estimate_gpu(LLAMA_2_7B, setup())


def test_the_estimate_is_unsure_within_its_error() -> None:
    needed = MemoryEstimate(weights=100, adapter=0, activations=0, logits=0, overhead=0)
    assert needed.surely_fits(116)
    assert not needed.surely_fits(114)
    assert not needed.cannot_fit(88)
    assert needed.cannot_fit(86)


def test_a_base_passes_through_main_memory_on_its_way_to_the_gpu() -> None:
    assert host_bytes_beside_gpu(LLAMA_2_7B, setup(quantized=True)) > MODEL_SIZE
    assert estimate_cpu(LLAMA_2_7B, setup()).total > estimate_gpu(LLAMA_2_7B, setup()).total


def test_the_shape_comes_from_the_bases_manifest() -> None:
    shape = ModelShape.of(base_manifest())
    assert (shape.hidden_size, shape.attention_size, shape.intermediate_size, shape.layers) == (8, 8, 16, 1)
    assert (shape.linear["q_proj"].inputs, shape.linear["q_proj"].outputs, shape.linear["q_proj"].weights) == (8, 8, 64)


def test_a_base_that_does_not_state_the_width_of_its_mlp_has_the_classic_one() -> None:
    manifest = base_manifest()
    silent = manifest.model_copy(
        update={"fingerprint": manifest.fingerprint.model_copy(update={"intermediate_size": None})}
    )
    assert ModelShape.of(silent) == replace(ModelShape.of(manifest), intermediate_size=32)


def test_the_default_stands_for_attention_whatever_it_is_called() -> None:
    fused = {"model.layers.0.self_attn.qkv_proj": (24, 8), "model.layers.0.mlp.down_proj": (8, 16)}
    shape = replace(ModelShape.of(base_manifest()), linear=linear_layers(fused))
    (layers,) = shape.adapted(("q_proj", "k_proj", "v_proj", "o_proj"))
    assert (layers.outputs, layers.inputs) == (24, 8)
    assert shape.adapted(("q_proj", "v_proj")) == []
