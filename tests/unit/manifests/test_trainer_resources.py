"""What the trainer's container asks for, and what it is told of its CPUs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import adapter, resolved_base
from tests.unit.registry.published_memory import LLAMA_2_7B

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.base_shape import BaseShape
from graft_operator.manifests.jobs.trainer_resources import cpus_variable, trainer_resources

BASE_7B = resolved_base(parameters=LLAMA_2_7B.parameters, dtype="bfloat16", shape=BaseShape.of(LLAMA_2_7B))

REQUESTS: dict[str, tuple[dict[str, Any], ResolvedBase, dict[str, Any]]] = {
    "a request of the user's stands": ({"requests": {"memory": "1Gi"}}, BASE_7B, {"requests": {"memory": "1Gi"}}),
    "a limit of the user's is the request": ({"limits": {"memory": "1Gi"}}, BASE_7B, {"limits": {"memory": "1Gi"}}),
    "nothing is asked for while the base's shape is not known": ({}, resolved_base(), {}),
}


@pytest.mark.parametrize(("resources", "base", "given"), REQUESTS.values(), ids=REQUESTS)
def test_memory_is_left_to_the_user(resources: dict[str, Any], base: ResolvedBase, given: dict[str, Any]) -> None:
    subject = adapter(pod={"resources": resources})
    asked = trainer_resources(subject.spec, base)
    assert {kind: values for kind, values in asked.items() if values} == given


ESTIMATES: dict[str, tuple[dict[str, Any], int, int]] = {
    "a CPU holds the model and what autograd keeps": ({}, 20, 70),
    "float32 takes twice the model": ({"training": {"precision": "Float32"}}, 35, 110),
    "beside a GPU only the model passes through": ({"pod": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}, 15, 20),
}


@pytest.mark.parametrize(("spec", "least", "most"), ESTIMATES.values(), ids=ESTIMATES)
def test_memory_is_asked_for_by_estimate(spec: dict[str, Any], least: int, most: int) -> None:
    subject = adapter(**spec)
    asked = trainer_resources(subject.spec, BASE_7B)
    gibibytes = int(asked["requests"]["memory"].removesuffix("Mi")) / 1024
    assert least < gibibytes < most
    assert asked["limits"] == subject.spec.pod.resources.limits


def test_what_else_the_user_asks_for_stays() -> None:
    subject = adapter(pod={"resources": {"requests": {"cpu": "4"}}})
    assert trainer_resources(subject.spec, BASE_7B)["requests"].keys() == {"cpu", "memory"}


CPUS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the limit is what there is": ({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, ["limits.cpu"]),
    "else what is reserved": ({"requests": {"cpu": "500m"}}, ["requests.cpu"]),
    "with neither the trainer looks for itself": ({"requests": {"memory": "1Gi"}}, []),
}


@pytest.mark.parametrize(("resources", "fields"), CPUS.values(), ids=CPUS)
def test_the_trainer_is_told_its_cpus(resources: dict[str, Any], fields: list[str]) -> None:
    told = cpus_variable(adapter(pod={"resources": resources}).spec.pod.resources)
    references = [item["valueFrom"]["resourceFieldRef"] for item in told]
    assert [reference["resource"] for reference in references] == fields
    assert all(reference["divisor"] == "1" for reference in references)
