"""The recipe digest: what makes another training, and what doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import adapter, base_id, digest

from graft_operator.plan.training.recipe import recipe_digest

SAME: dict[str, dict[str, Any]] = {
    "more memory": {"pod": {"resources": {"limits": {"memory": "64Gi"}}}},
    "another node": {"pod": {"nodeSelector": {"gpu": "h100"}}},
    "one GPU": {"pod": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    "rows that are prepared first": {"preparation": {"mode": "Always", "resources": {"limits": {"memory": "8Gi"}}}},
    "one worker, spelled out": {"pod": {"workers": {"nodes": 1, "processesPerNode": 1}}},
    "another service account": {"pod": {"serviceAccountName": "trainer"}},
    "checkpoints more often": {"training": {"checkpointSeconds": 30}},
    "a longer deadline": {"training": {"deadlineSeconds": 60}},
    "a stricter gate": {"evaluation": {"minImprovementOverBase": "0.2", "maxRegression": "0"}},
    "further limits of the gate": {"evaluation": {"minExactMatch": "0.9", "maxPerplexity": "3"}},
    "ranks that may be doubled": {"training": {"rankDoubling": {"maxRank": 64}}},
    "a queue": {"pod": {"queueName": "gpus"}},
    "no serving": {"serving": {"mode": "None"}},
    "places on demand": {"serving": {"residency": "OnDemand"}},
    "a pin": {"version": 3},
    "suspension": {"suspend": True},
    "another deletion policy": {"deletionPolicy": "Delete"},
    "another GPU": {"pod": {"gpuMemory": "80Gi"}},
    "no gradient checkpointing, spelled out": {"training": {"gradientCheckpointing": False}},
    "no packing, spelled out": {"training": {"packing": False}},
    "answers alone, spelled out": {"training": {"trainOnInputs": False}},
    "LoRA+'s ratio without LoRA+": {"lora": {"learningRateRatio": "8"}},
    "the length of a prompt that is not trained": {"promptTuning": {"virtualTokens": 10}},
    "LongLoRA's groups without LongLoRA": {"training": {"attentionGroupSize": 64}},
    "learning by heart, spelled out": {"training": {"objective": "SFT"}},
    "how preferences would be learned": {"training": {"preference": {"beta": "0.5", "referenceVersion": 3}}},
    "a limit for preferences": {"evaluation": {"minPreferenceAccuracy": "0.9"}},
    "the default of alpha, spelled out": {"lora": {"alpha": 32}},
    "the default of the seed, spelled out": {"training": {"seed": 42}},
    "more bad rows that are put up with": {
        "dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "maxDroppedPercent": 50}
    },
    "no other sets, spelled out": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "mix": []}},
    "no columns, spelled out": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "columns": {}}},
    "a file type that is found out": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "fileType": "Auto"}},
}

OTHER: dict[str, dict[str, Any]] = {
    "another rank": {"lora": {"rank": 8}},
    "another alpha": {"lora": {"alpha": 16}},
    "other modules": {"lora": {"targetModules": ["q_proj"]}},
    "another seed": {"training": {"seed": 43}},
    "another learning rate": {"training": {"learningRate": "1e-4"}},
    "gradient checkpointing": {"training": {"gradientCheckpointing": True}},
    "several rows in one sequence": {"training": {"packing": True}},
    "questions that are learned, too": {"training": {"trainOnInputs": True}},
    "another method": {"method": "RsLoRA"},
    "pairs": {"training": {"objective": "DPO"}},
    "two GPUs, which are two workers": {"pod": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}},
    "two pods": {"pod": {"workers": {"nodes": 2}}},
    "a module with a rank of its own": {"lora": {"rankPattern": {"q_proj": 32}}},
    "a merged model among its files": {"serving": {"mode": "Merged"}},
    "other rows": {"dataset": {"s3": {"uri": "s3://data/other.jsonl"}}},
    "rows that are read as another type": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "fileType": "JSON"}},
    "columns of one's own": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "columns": {"prompt": "asked"}}},
    "another set mixed in": {
        "dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "mix": [{"s3": {"uri": "s3://data/other.jsonl"}}]}
    },
    "more rows held out": {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}, "evaluationPercent": 10}},
}


def recipe(
    dataset_digest: str | None = None, evaluation_digest: str | None = None, base: str = "A", **spec: Any
) -> str:
    return recipe_digest(
        adapter(**spec).spec,
        base_digest=base_id(base),
        dataset_digest=dataset_digest,
        evaluation_digest=evaluation_digest,
    )


@pytest.mark.parametrize("spec", SAME.values(), ids=SAME)
def test_the_recipe_stays_the_same_with(spec: dict[str, Any]) -> None:
    assert recipe(**spec) == recipe()


@pytest.mark.parametrize("spec", OTHER.values(), ids=OTHER)
def test_the_recipe_changes_with(spec: dict[str, Any]) -> None:
    assert recipe(**spec) != recipe()


def mixing(weight: str | None = None, **second: Any) -> str:
    first = {"s3": {"uri": "s3://data/train.jsonl"}} | ({"weight": weight} if weight else {})
    return recipe(dataset=first | {"mix": [{"s3": {"uri": "s3://data/other.jsonl"}} | second]})


def test_what_is_mixed_in_decides_the_recipe() -> None:
    assert mixing() == mixing("1") == mixing(weight="1", columns={})
    others = [
        mixing("3"),
        mixing(format="Alpaca"),
        mixing(columns={"prompt": "q"}),
        mixing(s3={"uri": "s3://data/third.jsonl"}),
    ]
    assert len({mixing(), *others}) == 5


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("LoRAPlus", {"lora": {"learningRateRatio": "8"}}),
        ("LongLoRA", {"training": {"attentionGroupSize": 64}}),
        ("PromptTuning", {"promptTuning": {"virtualTokens": 10}}),
        ("PrefixTuning", {"promptTuning": {"virtualTokens": 10}}),
    ],
)
def test_the_recipe_changes_with_what_the_method_looks_at(method: str, field: dict[str, Any]) -> None:
    given: dict[str, Any] = {"method": method, "serving": {"mode": "None"}}
    assert recipe(**given) != recipe(**given, **field)


@pytest.mark.parametrize(
    ("objective", "preference", "changes"),
    [
        ("DPO", {"beta": "0.2"}, True),
        ("DPO", {"referenceVersion": 3}, True),
        ("DPO", {"desirableWeight": "2"}, False),
        ("KTO", {"beta": "0.2"}, True),
        ("KTO", {"desirableWeight": "2"}, True),
        ("KTO", {"undesirableWeight": "2"}, True),
    ],
)
def test_the_recipe_changes_with_what_the_objective_looks_at(
    objective: str, preference: dict[str, Any], changes: bool
) -> None:
    plain, other = ({"objective": objective, "preference": given} for given in ({}, preference))
    assert (recipe(training=plain) != recipe(training=other)) == changes


def test_the_recipe_changes_with_the_base_and_with_the_rows() -> None:
    rows = digest("rows")
    assert len({recipe(), recipe(base="B"), recipe(rows), recipe(None, rows), recipe(rows, rows)}) == 5


def test_the_recipe_is_a_promise() -> None:
    """Another value here trains every adapter of every user again: raise RECIPE_SCHEMA only for a reason."""
    given = recipe_digest(adapter().spec, base_digest=digest("base"), dataset_digest=digest("rows"))
    assert given == "sha256:ce6593daa4f6c4a9e937558f8e44a3655150e53115c317c397aeadf30f6e093e"
