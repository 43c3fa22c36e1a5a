"""What method Auto comes to, and what is refused because no GPU of the pod could hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builders import NOW, adapter, base_model, resolved_base, seen
from tests.unit.registry.published_memory import LLAMA_2_7B, LLAMA_65B

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.training import TrainingPod
from graft_operator.plan.training.memory import gpu_is_too_small, gpu_memory, with_chosen_method
from graft_registry.models.training_memory import ModelShape

ONE_GPU = {"limits": {"nvidia.com/gpu": "1"}}


def resolved(shape: ModelShape, **fields: Any) -> ResolvedBase:
    return resolved_base(parameters=shape.parameters, dtype="bfloat16", shape=BaseShape.of(shape), **fields)


BASE_7B, BASE_65B = resolved(LLAMA_2_7B), resolved(LLAMA_65B)


def with_gpu(memory: str | None, **fields: Any) -> dict[str, Any]:
    """A pod with one GPU; ``memory`` is its gpuMemory."""
    return {"resources": ONE_GPU} | ({"gpuMemory": memory} if memory else {}) | fields


SIZES: dict[str, tuple[dict[str, Any], int | None]] = {
    "a quantity in binary units": (with_gpu("24Gi"), 24 << 30),
    "a quantity in decimal units": (with_gpu("80G"), 80 * 10**9),
    "the label of GPU feature discovery, in MiB": (
        with_gpu(None, nodeSelector={"nvidia.com/gpu.memory": "40960"}),
        40 << 30,
    ),
    "the field wins over the label": (with_gpu("24Gi", nodeSelector={"nvidia.com/gpu.memory": "40960"}), 24 << 30),
    "a label that is no number": (with_gpu(None, nodeSelector={"nvidia.com/gpu.memory": "much"}), None),
    "nothing tells": (with_gpu(None), None),
    "without a GPU its memory is of no interest": ({"gpuMemory": "24Gi"}, None),
    "GPUs of other makers count": ({"resources": {"limits": {"amd.com/gpu": "1"}}, "gpuMemory": "64Gi"}, 64 << 30),
    "a part of a GPU counts": (
        {"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}, "gpuMemory": "10G"},
        10 * 10**9,
    ),
}


@pytest.mark.parametrize(("pod", "size"), SIZES.values(), ids=SIZES)
def test_the_memory_of_the_gpu(pod: dict[str, Any], size: int | None) -> None:
    assert gpu_memory(TrainingPod.model_validate(pod)) == size


SHORT = {"batchSize": 1, "maxSequenceLength": 512}

CHOICES: dict[str, tuple[dict[str, Any], ResolvedBase, str]] = {
    "LoRA where it fits": ({"pod": with_gpu("80Gi"), "training": SHORT}, BASE_7B, "LoRA"),
    "QLoRA where LoRA does not": ({"pod": with_gpu("16Gi"), "training": SHORT}, BASE_7B, "QLoRA"),
    "QLoRA where LoRA would fit by a hair": ({"pod": with_gpu("18Gi"), "training": SHORT}, BASE_7B, "QLoRA"),
    "QLoRA even where that does not fit either": ({"pod": with_gpu("16Gi")}, BASE_65B, "QLoRA"),
    "rank-stabilised from rank 64 on": ({"pod": with_gpu("80Gi"), "lora": {"rank": 64}}, BASE_7B, "RsLoRA"),
    "LoRA below rank 64": ({"pod": with_gpu("80Gi"), "lora": {"rank": 63}}, BASE_7B, "LoRA"),
    "LoRA on a CPU": ({}, BASE_65B, "LoRA"),
    "LoRA where nothing tells of the GPU's memory": ({"pod": with_gpu(None)}, BASE_65B, "LoRA"),
    "LoRA while the base's shape is not known": ({"pod": with_gpu("16Gi")}, resolved_base(), "LoRA"),
}


@pytest.mark.parametrize(("spec", "base", "method"), CHOICES.values(), ids=CHOICES)
def test_auto_chooses(spec: dict[str, Any], base: ResolvedBase, method: str) -> None:
    chosen = with_chosen_method(adapter(method="Auto", **spec), base)
    assert chosen.spec.method == method
    assert chosen.status.chosen_method is not None
    assert chosen.status.chosen_method.method == method


def test_a_method_that_a_person_chose_is_left_alone() -> None:
    subject = adapter(method="QLoRA", pod=with_gpu("80Gi"))
    assert with_chosen_method(subject, BASE_7B) == subject


def test_a_choice_stands_even_if_it_would_be_another_today() -> None:
    """A better estimate in a newer operator must not train again what is trained."""
    first = with_chosen_method(adapter(method="Auto", pod=with_gpu("80Gi")), BASE_7B).status.chosen_method
    assert first is not None
    kept = first.model_copy(update={"method": "QLoRA"})
    subject = adapter(method="Auto", pod=with_gpu("80Gi"), status={"chosen_method": kept})
    assert with_chosen_method(subject, BASE_7B).spec.method == "QLoRA"


ANEW: dict[str, tuple[dict[str, Any], ResolvedBase]] = {
    "the GPU": ({"pod": with_gpu("16Gi"), "training": SHORT}, BASE_7B),
    "the rank": ({"pod": with_gpu("80Gi"), "training": SHORT, "lora": {"rank": 64}}, BASE_7B),
    "the base": ({"pod": with_gpu("80Gi"), "training": SHORT}, BASE_65B),
    "the length of rows": ({"pod": with_gpu("80Gi"), "training": {"maxSequenceLength": 65_536}}, BASE_7B),
}


@pytest.mark.parametrize(("spec", "base"), ANEW.values(), ids=ANEW)
def test_the_choice_is_made_anew_with(spec: dict[str, Any], base: ResolvedBase) -> None:
    first = with_chosen_method(adapter(method="Auto", pod=with_gpu("80Gi"), training=SHORT), BASE_7B)
    again = adapter(method="Auto", status={"chosen_method": first.status.chosen_method}, **spec)
    assert with_chosen_method(again, base).spec.method != first.spec.method


def test_another_method_forgets_the_choice() -> None:
    chosen = with_chosen_method(adapter(method="Auto"), BASE_7B).status.chosen_method
    assert with_chosen_method(adapter(status={"chosen_method": chosen}), BASE_7B).status.chosen_method is None


@dataclass(frozen=True, kw_only=True)
class Case:
    spec: dict[str, Any] = field(default_factory=dict)
    base: ResolvedBase = BASE_7B
    says: tuple[str, ...] = ()
    """Parts of the message; none where the training is not refused."""


REFUSALS = {
    "what fits is not refused": Case(spec={"pod": with_gpu("80Gi"), "training": SHORT}),
    "what may fit is not refused": Case(spec={"pod": with_gpu("15Gi"), "training": SHORT}),
    "65 billion parameters in 4 bits fit 48 GB": Case(
        spec={"pod": with_gpu("48Gi"), "method": "QLoRA", "training": SHORT}, base=BASE_65B
    ),
    "65 billion parameters in 16 bits don't, but in 4 bits they would": Case(
        spec={
            "pod": with_gpu("80Gi"),
            "method": "LoRA",
            "training": SHORT | {"gradientCheckpointing": True},
        },
        base=BASE_65B,
        says=("LoRA takes about 124", "weights 12", "80.0 GiB", "it would fit with method QLoRA (about 3"),
    ),
    "too many tokens name what would save some": Case(
        spec={"pod": with_gpu("40Gi"), "training": {"batchSize": 8, "maxSequenceLength": 2048}},
        says=("training.gradientCheckpointing true (about", "training.batchSize 1 (about"),
    ),
    "where no change alone helps, all together may": Case(
        spec={"pod": with_gpu("6Gi"), "training": {"batchSize": 8, "maxSequenceLength": 2048}},
        says=("it may fit with all of training.gradientCheckpointing true, training.batchSize 1, method QLoRA",),
    ),
    "where nothing helps, only another GPU does": Case(
        spec={"pod": with_gpu("16Gi"), "method": "QLoRA", "training": SHORT},
        base=BASE_65B,
        says=("take a GPU with more memory",),
    ),
    "without a GPU nothing is refused": Case(base=BASE_65B),
    "where nothing tells of the GPU's memory nothing is refused": Case(spec={"pod": with_gpu(None)}, base=BASE_65B),
    "while the base's shape is not known nothing is refused": Case(
        spec={"pod": with_gpu("1Gi")}, base=resolved_base(parameters=LLAMA_65B.parameters)
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_refusal(case: Case) -> None:
    base = base_model(status={"resolved": case.base})
    verdict = gpu_is_too_small(seen(adapter(**case.spec), base=base), NOW)
    assert (verdict is not None) == bool(case.says)
    if verdict is None:
        return
    assert verdict.stalled == verdict.accepted
    assert (verdict.accepted.status, verdict.accepted.reason) == ("False", "DoesNotFit")
    for part in case.says:
        assert part in verdict.accepted.message
