"""The gate, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import digest, version

from graft_operator.api.evaluation import Evaluation
from graft_operator.plan.training.gate import judge
from graft_registry.documents import StoredVersion

LIVE = version(1, loss=1.0)


def tokenized(stored: StoredVersion, tokenizer: str) -> StoredVersion:
    """The version on a base with this tokenizer."""
    base = stored.manifest.base.model_copy(update={"tokenizer_digest": digest(tokenizer)})
    return StoredVersion(stored.manifest.model_copy(update={"base": base}), stored.digest)


def scored(**metrics: float) -> StoredVersion:
    """A version with these scores, better than its base."""
    return version(1, metrics={"evalLoss": 1.0, "baseEvalLoss": 2.0} | metrics)


def preferring(number: int = 1, accuracy: float | None = 0.9, **fields: Any) -> StoredVersion:
    """A version that has learned preferences, whose reference has a loss of log 2."""
    metrics = {"evalLoss": 0.4, "baseEvalLoss": 0.6931} | ({"preferenceAccuracy": accuracy} if accuracy else {})
    parameters = {"training": {"preference": {"beta": 0.1}}}
    return version(number, **{"objective": "DPO", "metrics": metrics, "hyperparameters": parameters} | fields)


HALF = {"evalLoss": 0.2, "baseEvalLoss": 0.6931, "preferenceAccuracy": 0.9}

CASES: dict[str, tuple[StoredVersion, StoredVersion | None, dict[str, str], str]] = {
    "better than the base passes": (version(1, loss=1.9), None, {}, "Passed"),
    "as good as the base passes when nothing is asked": (version(1, loss=2.0), None, {}, "Passed"),
    "worse than the base fails": (version(1, loss=2.1), None, {}, "WorseThanBase"),
    "less than the wanted improvement fails": (
        version(1, loss=1.9),
        None,
        {"minImprovementOverBase": "0.1"},
        "WorseThanBase",
    ),
    "the wanted improvement passes": (version(1, loss=1.5), None, {"minImprovementOverBase": "0.25"}, "Passed"),
    "no evaluation fails": (version(1, loss=None), None, {}, "NotEvaluated"),
    "no evaluation of the base fails": (version(1, base_loss=None), None, {}, "NotEvaluated"),
    "exactly the wanted improvement passes": (version(1, loss=1.8), None, {"minImprovementOverBase": "0.1"}, "Passed"),
    "a base without any loss can't be improved": (version(1, loss=0.0, base_loss=0.0), None, {}, "Passed"),
    "a little worse than the live version passes": (version(2, loss=1.05), LIVE, {}, "Passed"),
    "much worse than the live version fails": (version(2, loss=1.06), LIVE, {}, "WorseThanLive"),
    "much worse passes when that is allowed": (version(2, loss=1.5), LIVE, {"maxRegression": "0.5"}, "Passed"),
    "nothing worse is allowed": (version(2, loss=1.001), LIVE, {"maxRegression": "0"}, "WorseThanLive"),
    "other held-out rows can't be compared": (
        version(2, loss=1.9, eval_rows=digest("other rows")),
        LIVE,
        {},
        "Passed",
    ),
    "the live version is not compared with itself": (version(1, loss=1.0), LIVE, {"maxRegression": "0"}, "Passed"),
    "a way back to an older version is a person's choice, and is not compared": (
        version(1, loss=1.5),
        version(2, loss=1.0),
        {},
        "Passed",
    ),
    "exactly the wanted part of exact answers passes": (
        scored(exactMatch=0.9),
        None,
        {"minExactMatch": "0.9"},
        "Passed",
    ),
    "fewer exact answers fail": (scored(exactMatch=0.89), None, {"minExactMatch": "0.9"}, "ExactMatchTooLow"),
    "no question asked fails where a part was wanted": (scored(), None, {"minExactMatch": "0.1"}, "NotEvaluated"),
    "exactly the highest perplexity passes": (scored(perplexity=3.0), None, {"maxPerplexity": "3"}, "Passed"),
    "a higher perplexity fails": (scored(perplexity=3.1), None, {"maxPerplexity": "3"}, "PerplexityTooHigh"),
    "no perplexity fails where there is a limit": (scored(), None, {"maxPerplexity": "3"}, "NotEvaluated"),
    "the first of several rejections gives the reason": (
        scored(evalLoss=2.5, perplexity=9.0, exactMatch=0.0),
        None,
        {"maxPerplexity": "3", "minExactMatch": "0.5"},
        "WorseThanBase",
    ),
    "losses over other tokens can't be compared": (
        tokenized(version(2, loss=1.9, base="B"), "other"),
        tokenized(LIVE, "tokens"),
        {},
        "Passed",
    ),
    "losses over the same tokens are, whatever the base": (
        tokenized(version(2, loss=1.9, base="B"), "tokens"),
        tokenized(LIVE, "tokens"),
        {},
        "WorseThanLive",
    ),
    "preferences that were learned pass": (preferring(), None, {}, "Passed"),
    "preferences that are no better than chance pass when no more is asked": (preferring(1, 0.5), None, {}, "Passed"),
    "preferences below chance fail": (preferring(1, 0.49), None, {}, "PreferenceAccuracyTooLow"),
    "fewer preferences than wanted fail": (
        preferring(1, 0.79),
        None,
        {"minPreferenceAccuracy": "0.8"},
        "PreferenceAccuracyTooLow",
    ),
    "preferences that nothing was held out of fail": (preferring(1, None), None, {}, "NotEvaluated"),
    "what has learned answers needs no preferences": (scored(), None, {"minPreferenceAccuracy": "1"}, "Passed"),
    "losses of two objectives can't be compared": (
        preferring(2),
        version(1, metrics=HALF),
        {},
        "Passed",
    ),
    "losses near two references can't be compared": (
        preferring(2, warmStart={"number": 1, "manifestDigest": digest("sft")}),
        preferring(1, metrics=HALF),
        {},
        "Passed",
    ),
    "losses of two betas can't be compared": (
        preferring(2, hyperparameters={"training": {"preference": {"beta": 0.5}}}),
        preferring(1, metrics=HALF),
        {},
        "Passed",
    ),
    "losses near one reference can": (preferring(2), preferring(1, metrics=HALF), {}, "WorseThanLive"),
    "a live version without a loss can't be compared": (version(2), version(1, loss=None), {}, "Passed"),
}


@pytest.mark.parametrize(("candidate", "live", "limits", "reason"), CASES.values(), ids=CASES)
def test_gate(candidate: StoredVersion, live: StoredVersion | None, limits: dict[str, str], reason: str) -> None:
    verdict = judge(candidate.manifest, live.manifest if live else None, Evaluation.model_validate(limits))
    assert verdict.reason == reason
    assert verdict.passed == (reason == "Passed")


def test_the_message_names_the_numbers_and_the_field() -> None:
    verdict = judge(version(2, loss=1.5).manifest, LIVE.manifest, Evaluation())
    assert verdict.message == (
        "evaluation loss 1.5000 is 50.0% worse than version 1's 1.0000, above evaluation.maxRegression 5.0%"
    )


@pytest.mark.parametrize(
    ("candidate", "live", "change"),
    [
        (version(2, loss=6.19), LIVE, (1, "5.1900")),
        (version(2, loss=0.5), LIVE, (1, "-0.5000")),
        (version(2, loss=0.5), None, None),
        (version(2, loss=None), LIVE, None),
        (version(2), version(1, loss=0.0), None),
        (version(2, eval_rows=digest("other rows")), LIVE, None),
        (LIVE, LIVE, None),
        (version(1, loss=9.0), version(2, loss=1.0), None),
    ],
)
def test_what_a_version_was_compared_with_is_kept(
    candidate: StoredVersion, live: StoredVersion | None, change: tuple[int, str] | None
) -> None:
    limits = Evaluation.model_validate({"maxRegression": "100"})
    found = judge(candidate.manifest, live.manifest if live else None, limits).compared_with
    assert (None if found is None else (found.number, found.loss_change)) == change


def says(candidate: StoredVersion, live: StoredVersion | None = None, **limits: str) -> str:
    return judge(candidate.manifest, live.manifest if live else None, Evaluation.model_validate(limits)).message


def test_a_refusal_names_everything_that_is_missing_and_by_how_much() -> None:
    message = says(
        scored(evalLoss=1.9, perplexity=6.0, exactMatch=0.4),
        minImprovementOverBase="0.1",
        maxPerplexity="5",
        minExactMatch="0.5",
    )
    assert message == (
        "evaluation loss 1.9000 improves the base's 2.0000 by 5.0%, below evaluation.minImprovementOverBase 10.0%;"
        " perplexity 6.00 is 20.0% above evaluation.maxPerplexity 5;"
        " 40.0% of the answers are exact, 10.0% below evaluation.minExactMatch 50.0%"
    )


def test_a_version_that_passes_is_told_beside_base_and_live_version() -> None:
    assert says(version(2, loss=0.9), LIVE) == (
        "evaluation loss 0.9000, 55.0% better than the base's 2.0000; 10.0% better than version 1's 1.0000"
    )
    assert says(scored(exactMatch=0.75, baseExactMatch=0.25)) == (
        "evaluation loss 1.0000, 50.0% better than the base's 2.0000; 75.0% of the answers exact, the base 25.0%"
    )


def test_preferences_are_told_first_and_beside_the_reference() -> None:
    assert says(preferring()) == (
        "preference accuracy 90.0%; evaluation loss 0.4000, 42.3% better than the reference's 0.6931"
    )


NOT_COMPARED = {
    "not compared with version 1: its held-out rows are others": version(2, eval_rows=digest("other rows")),
    "not compared with version 1: its base has another tokenizer": tokenized(version(2), "other"),
}


@pytest.mark.parametrize(("why", "candidate"), NOT_COMPARED.items())
def test_a_comparison_that_is_left_out_is_told(why: str, candidate: StoredVersion) -> None:
    assert says(candidate, tokenized(LIVE, "tokens")).endswith(why)


def answering(*pairs: tuple[str, str | None]) -> StoredVersion:
    """A version with these golden answers, and the base's."""
    golden = [
        {"promptTokenIds": [1], "prompt": "p", "answer": own, "answerTokenIds": [2], "baseAnswer": base}
        for own, base in pairs
    ]
    return version(1, golden=golden)


ANSWERS = {
    "all are the base's": (answering(("a", "a"), ("b", " b"), ("c", "c")), True),
    "one differs": (answering(("a", "a"), ("b", "b"), ("c", "d")), False),
    "too few are known": (answering(("a", "a"), ("b", "b"), ("c", None)), False),
    "none is known": (version(1), False),
}


@pytest.mark.parametrize(("candidate", "told"), ANSWERS.values(), ids=ANSWERS)
def test_who_answers_as_the_base_does_passes_with_advice(candidate: StoredVersion, told: bool) -> None:
    verdict = judge(candidate.manifest, None, Evaluation())
    assert verdict.passed
    assert ("set evaluation.minExactMatch" in verdict.message_and_advice) == told


ADVICE = {
    "too little better than the base": (
        {"minImprovementOverBase": "0.99"},
        "; version 2 is kept, not served: train on more or better rows, or for more epochs, or lower"
        " evaluation.minImprovementOverBase, which trains nothing again",
    ),
    "two limits": (
        {"minImprovementOverBase": "0.99", "maxPerplexity": "1.1"},
        "or lower evaluation.minImprovementOverBase and raise evaluation.maxPerplexity, which trains nothing again",
    ),
    "nothing was measured, which no limit changes": ({"minExactMatch": "0.5"}, "or rows with short answers"),
    "it passes": ({}, ""),
}


@pytest.mark.parametrize(("limits", "advice"), ADVICE.values(), ids=ADVICE)
def test_who_is_rejected_is_told_what_to_do(limits: dict[str, str], advice: str) -> None:
    candidate = version(2, metrics={"evalLoss": 1.5, "baseEvalLoss": 2.0, "perplexity": 4.0})
    verdict = judge(candidate.manifest, None, Evaluation.model_validate(limits))
    assert verdict.message_and_advice.endswith(advice)
    assert ("kept, not served" in verdict.message_and_advice) == ("trains nothing again" in advice)
