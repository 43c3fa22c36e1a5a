"""Self-correction by rank: when it is asked for, where it ends, and that it never goes round in circles."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import NOW, adapter, base_model, digest, recipe_of, seen, served_version, version

from graft_operator.api.adapter_status import RaisedRank
from graft_operator.api.conditions import yes
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.gate import GateDecision
from graft_operator.plan.training.job import new_version_reason
from graft_operator.plan.training.rank import (
    correct_rank,
    effective_rank,
    raised_rank,
    rank_is_too_low,
    with_effective_rank,
    with_rank,
)
from graft_operator.plan.training.recipe import spec_digest
from graft_operator.plan.training.servability import rank_exceeds_base
from graft_operator.plan.training.versions import summary

DOUBLING: dict[str, Any] = {"training": {"rankDoubling": {"maxRank": 64}}}
FLAT = {"evalLoss": 1.9, "baseEvalLoss": 2.0, "trainLoss": 1.8, "lateImprovement": 0.01}
FAILED = GateDecision(False, "WorseThanBase", "too little")

SYMPTOMS: dict[str, tuple[dict[str, float | None], GateDecision, bool]] = {
    "flat, and hardly better than the base": ({}, FAILED, True),
    "flat, and worse than the live version": ({}, GateDecision(False, "WorseThanLive", ""), True),
    "flat, and too perplexed": ({}, GateDecision(False, "PerplexityTooHigh", ""), True),
    "flat, but good enough": ({}, GateDecision(True, "Passed", ""), False),
    "refused for its words, not its loss": ({}, GateDecision(False, "ExactMatchTooLow", ""), False),
    "never evaluated": ({"evalLoss": None}, GateDecision(False, "NotEvaluated", ""), False),
    "still falling: it needs more steps": ({"lateImprovement": 0.1}, FAILED, False),
    "exactly flat enough": ({"lateImprovement": 0.02}, FAILED, True),
    "rising again": ({"lateImprovement": -0.2}, FAILED, True),
    "too short to tell": ({"lateImprovement": None}, FAILED, False),
    "learnt by heart: it needs more rows": ({"trainLoss": 0.1}, FAILED, False),
}


@pytest.mark.parametrize(("metrics", "gate", "too_low"), SYMPTOMS.values(), ids=SYMPTOMS)
def test_the_rank_is_too_low(metrics: dict[str, float | None], gate: GateDecision, too_low: bool) -> None:
    assert rank_is_too_low(version(1, metrics=FLAT | metrics).manifest, gate) == too_low


def test_a_method_without_a_rank_has_none_to_double() -> None:
    shape = {"rank": 0, "alpha": 0, "targetModules": [], "trainableParameters": 1, "allParameters": 2}
    assert not rank_is_too_low(version(1, metrics=FLAT, shape=shape).manifest, FAILED)


def plateaued(subject: LoraAdapter, **fields: Any) -> AdapterSnapshot:
    """An adapter whose current recipe was published, flat and not good enough."""
    recipe = recipe_of(with_effective_rank(subject))
    return seen(subject, published=version(3, recipe=recipe, metrics=FLAT), **fields)


def corrected(given: AdapterSnapshot) -> TrainingDecision:
    return correct_rank(given, TrainingDecision(trained=yes("Trained"), current=given.published), FAILED)


def raised_to(rank: int, subject: LoraAdapter) -> LoraAdapter:
    """The same adapter, of which the status says that its rank was raised."""
    raised = RaisedRank(rank=rank, spec_digest=spec_digest(subject.spec))
    return subject.model_copy(update={"status": subject.status.model_copy(update={"raised_rank": raised})})


def test_twice_the_rank_is_chosen_and_kept_in_status() -> None:
    subject = adapter(**DOUBLING)
    verdict = corrected(plateaued(subject))
    assert verdict.raised_rank is not None
    assert (verdict.raised_rank.rank, verdict.stalled, verdict.requeue_after) == (32, None, 0)
    assert verdict.waiting is not None
    assert verdict.waiting.reason == "RankDoubled"
    assert "version 3 of rank 16" in verdict.raised_rank.message
    assert effective_rank(raised_to(32, subject)) == 32
    assert recipe_of(with_effective_rank(raised_to(32, subject))) != recipe_of(subject)


def test_the_ranks_go_up_to_the_limit_and_end_there() -> None:
    subject, ranks = adapter(**DOUBLING), []
    while (verdict := corrected(plateaued(subject))).raised_rank is not None:
        ranks.append(verdict.raised_rank.rank)
        subject = raised_to(ranks[-1], subject)
    assert ranks == [32, 64]
    assert verdict.stalled is not None
    assert verdict.stalled.reason == "WorseThanBase"
    assert "spec.training.rankDoubling.maxRank is 64" in verdict.stalled.message


LIMITS: dict[str, tuple[LoraAdapter, dict[str, Any], str | None]] = {
    "nobody asked for it": (adapter(), {}, None),
    "the base's engine takes no more": (
        adapter(**DOUBLING),
        {"base": base_model(serving={"replicas": 1, "maxRank": 16})},
        "serving.maxRank of BaseModel tiny is 16",
    ),
    "what PiSSA publishes has twice the rank again": (
        adapter(method="PiSSA", **DOUBLING),
        {"base": base_model(serving={"replicas": 1, "maxRank": 32})},
        "serving.maxRank of BaseModel tiny is 32",
    ),
    "a single module has a higher rank": (
        adapter(lora={"rankPattern": {"q_proj": 32}}, **DOUBLING),
        {"base": base_model(serving={"replicas": 1, "maxRank": 32})},
        "serving.maxRank of BaseModel tiny is 32",
    ),
}


@pytest.mark.parametrize(("subject", "fields", "says"), LIMITS.values(), ids=LIMITS)
def test_limits(subject: LoraAdapter, fields: dict[str, Any], says: str | None) -> None:
    verdict = corrected(plateaued(subject, **fields))
    assert verdict.raised_rank is None
    assert (verdict.stalled.message.partition("but ")[2] if verdict.stalled else None) == says


def test_an_engine_does_not_limit_what_it_does_not_serve() -> None:
    subject = adapter(serving={"mode": "None"}, **DOUBLING)
    small = base_model(serving={"replicas": 1, "maxRank": 16})
    assert corrected(plateaued(subject, base=small)).raised_rank is not None


def test_a_version_of_another_recipe_is_no_reason() -> None:
    given = seen(adapter(**DOUBLING), published=version(3, recipe=digest("pinned"), metrics=FLAT))
    assert corrected(given).raised_rank is None


STARTS_OVER: dict[str, dict[str, Any]] = {
    "another learning rate": {"training": {"rankDoubling": {"maxRank": 64}, "learningRate": "1e-4"}},
    "another rank": {"lora": {"rank": 8}},
    "other rows": {"dataset": {"s3": {"uri": "s3://data/other.jsonl"}}},
    "a lower limit": {"training": {"rankDoubling": {"maxRank": 31}}},
    "no doubling any more": {"training": {}},
}


@pytest.mark.parametrize("changes", STARTS_OVER.values(), ids=STARTS_OVER)
def test_another_spec_starts_over(changes: dict[str, Any]) -> None:
    kept = raised_to(32, adapter(**DOUBLING)).status.raised_rank
    changed = adapter(**DOUBLING | changes, status={"raised_rank": kept})
    assert effective_rank(changed) == changed.spec.lora.rank


GOES_ON: dict[str, dict[str, Any]] = {
    "a higher limit": {"training": {"rankDoubling": {"maxRank": 128}}},
    "a stricter gate": {"evaluation": {"minImprovementOverBase": "0.3"}},
    "other content of the same rows": {"dataset": {"s3": {"uri": "s3://data/train.jsonl", "digest": digest("new")}}},
    "another node": {"pod": {"nodeSelector": {"gpu": "h100"}}},
}


MODES = ("MultiAdapter", "Merged", "None")


@pytest.mark.parametrize(("before", "after"), [(a, b) for a in MODES for b in MODES])
def test_the_rank_stays_raised_however_it_is_served(before: str, after: str) -> None:
    kept = raised_to(32, adapter(serving={"mode": before}, **DOUBLING)).status.raised_rank
    changed = adapter(serving={"mode": after}, **DOUBLING, status={"raised_rank": kept})
    assert effective_rank(changed) == 32
    assert raised_rank(changed) == kept


def test_another_mode_together_with_another_training_starts_over() -> None:
    kept = raised_to(32, adapter(**DOUBLING)).status.raised_rank
    changed = adapter(
        serving={"mode": "Merged"},
        training={"rankDoubling": {"maxRank": 64}, "epochs": 9},
        status={"raised_rank": kept},
    )
    assert effective_rank(changed) == 16


def test_a_raised_rank_that_the_engine_does_not_take_says_how_to_lower_it() -> None:
    subject = raised_to(64, adapter(serving={"mode": "Merged"}, **DOUBLING))
    beside = adapter(**DOUBLING, status={"raised_rank": subject.status.raised_rank})
    verdict = rank_exceeds_base(seen(beside, base=base_model(serving={"replicas": 1, "maxRank": 32})), NOW)
    assert verdict is not None
    assert verdict.stalled is not None
    assert verdict.stalled.reason == "RankTooHigh"
    assert verdict.stalled.message.startswith("spec.training.rankDoubling: the rank, raised from 16 to 64, is above")
    lowered = adapter(training={"rankDoubling": {"maxRank": 32}}, status={"raised_rank": subject.status.raised_rank})
    assert effective_rank(lowered) == 16


@pytest.mark.parametrize("changes", GOES_ON.values(), ids=GOES_ON)
def test_the_rank_stays_raised_with(changes: dict[str, Any]) -> None:
    kept = raised_to(32, adapter(**DOUBLING)).status.raised_rank
    assert effective_rank(adapter(**DOUBLING | changes, status={"raised_rank": kept})) == 32


def test_alpha_and_the_ranks_of_single_modules_keep_their_ratio() -> None:
    lora = adapter(lora={"rank": 16, "alpha": 16, "rankPattern": {"q_proj": 4}}).spec.lora
    doubled = with_rank(lora, 32)
    assert (doubled.rank, doubled.alpha, doubled.rank_pattern) == (32, 32, {"q_proj": 8})
    assert with_rank(adapter().spec.lora, 64).effective_alpha == 128


REASONS = {
    "the half rank was published": (True, "A", "RankDoubled"),
    "nothing of this spec was published": (False, "A", "SpecChanged"),
    "the base was bumped after the doubling": (False, "B", "BaseModelChanged"),
    "the half rank was published on the new base": (True, "B", "RankDoubled"),
}


@pytest.mark.parametrize(("published", "base", "reason"), REASONS.values(), ids=REASONS)
def test_the_reason_of_the_version_with_the_doubled_rank(published: bool, base: str, reason: str) -> None:
    subject = raised_to(32, adapter(**DOUBLING))
    half = summary(version(3, recipe=recipe_of(subject, base)), "Rejected", "too little")
    status = subject.status.model_copy(
        update={
            "versions": (half,) if published else (),
            "serving": subject.status.serving.model_copy(update={"target": served_version(1)}),
        }
    )
    given = seen(
        subject.model_copy(update={"status": status}), base=base_model(resolved=base, serves=("A",)), live=version(1)
    )
    assert new_version_reason(given) == reason
