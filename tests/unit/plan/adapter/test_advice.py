"""Advice on what is legal and seldom meant."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import adapter, recipe_of, seen, version

from graft_operator.api.conditions import yes
from graft_operator.api.evaluation import ComparedVersion
from graft_operator.plan.adapter.advice import advice, served_advice
from graft_operator.plan.adapter.conditions import accepted_fact
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.versions import summary

ADVICE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "the defaults": ({}, ()),
    "alpha of twice the rank, spelled out": ({"lora": {"rank": 8, "alpha": 16}}, ()),
    "alpha of the rank": (
        {"lora": {"rank": 8, "alpha": 8}},
        ("spec.lora.alpha: 8 is not twice the rank; 16 is recommended",),
    ),
    "a limit of twice the loss": ({"evaluation": {"maxRegression": "1"}}, ()),
    "a limit that nothing exceeds": (
        {"evaluation": {"maxRegression": "100"}},
        ("spec.evaluation.maxRegression: 100 lets a version take over that is 10000% worse; 0.05 is recommended",),
    ),
    "alpha of a method that scales otherwise": ({"method": "RsLoRA", "lora": {"rank": 8, "alpha": 8}}, ()),
    "the learning rate of full fine-tuning": (
        {"training": {"learningRate": "2e-5"}},
        ("spec.training.learningRate: 2e-5 is low for LoRA; 2e-4 is recommended",),
    ),
    "a learning rate that explodes": (
        {"method": "QLoRA", "training": {"learningRate": "0.01"}},
        ("spec.training.learningRate: 0.01 is high for QLoRA; 2e-4 is recommended",),
    ),
    "learning rates at the edges": ({"training": {"learningRate": "5e-5"}}, ()),
    "a step of 32 rows": ({"training": {"batchSize": 8, "gradientAccumulation": 4}}, ()),
    "a step of 64 rows": (
        {"training": {"batchSize": 8, "gradientAccumulation": 8}},
        (
            "spec.training.gradientAccumulation: 64 rows per optimizer step are many for an adapter; 4 with this"
            " batchSize is recommended",
        ),
    ),
    "a step of 64 rows on four GPUs": (
        {"pod": {"resources": {"limits": {"nvidia.com/gpu": "4"}}}},
        (
            "spec.training.gradientAccumulation: 64 rows per optimizer step are many for an adapter; 2 with this"
            " batchSize is recommended",
        ),
    ),
    "one forward pass of 64 rows": (
        {"training": {"batchSize": 64, "gradientAccumulation": 1}},
        ("spec.training.batchSize: 64 rows per optimizer step are many for an adapter; 32 is recommended",),
    ),
}


@pytest.mark.parametrize(("spec", "sentences"), ADVICE.values(), ids=ADVICE)
def test_advice(spec: dict[str, Any], sentences: tuple[str, ...]) -> None:
    assert advice(adapter(**spec).spec) == sentences


def test_advice_is_told_beside_acceptance_and_stops_nothing() -> None:
    given = seen(adapter(lora={"rank": 8, "alpha": 8}, training={"learningRate": "1"}))
    fact = accepted_fact(given, TrainingDecision(trained=yes("Trained")))
    assert (fact.status, fact.reason) == ("True", "AcceptedWithAdvice")
    assert fact.message.count("is recommended") == 2


def test_what_has_passed_its_gate_quiets_advice_on_its_training_and_none_on_its_gate() -> None:
    subject = adapter(lora={"rank": 8, "alpha": 8}, evaluation={"maxRegression": "100"})
    passed = summary(version(1, recipe=recipe_of(subject)))
    subject = subject.model_copy(update={"status": subject.status.model_copy(update={"versions": (passed,)})})
    fact = accepted_fact(seen(subject), TrainingDecision(trained=yes("Trained")))
    assert fact.reason == "AcceptedWithAdvice"
    assert fact.message.startswith("spec.evaluation.maxRegression: 100 ")
    assert fact.message.count("is recommended") == 1


@pytest.mark.parametrize(
    ("change", "limit", "told"),
    [
        ("5.1900", "100", "519% worse than version 1 on the same rows and was let through by 100; set spec.version"),
        ("5.1900", "0.05", "519% worse than version 1 on the same rows; set spec.version to 1"),
        ("0.5000", "1", ""),
        ("-0.2000", "1", ""),
        ("nan", "1", ""),
        ("a lot", "1", ""),
    ],
)
def test_what_answers_and_is_much_worse_is_told(change: str, limit: str, told: str) -> None:
    before = ComparedVersion(number=1, loss_change=change)
    entry = summary(version(2)).model_copy(update={"compared_with": before})
    found = served_advice(adapter(evaluation={"maxRegression": limit}).spec, entry)
    assert (told in found[0]) if told else (found == ())


def test_what_was_compared_with_nothing_is_not_told() -> None:
    assert served_advice(adapter().spec, summary(version(2))) == served_advice(adapter().spec, None) == ()
