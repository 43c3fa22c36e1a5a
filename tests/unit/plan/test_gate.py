"""The gate, as a table."""

from __future__ import annotations

import pytest
from tests.builders import digest, version

from graft_operator.api.evaluation import Evaluation
from graft_operator.plan.gate import judge
from graft_registry.documents import StoredVersion

LIVE = version(1, loss=1.0)

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
    "a way back to an older version is a person's word": (version(1, loss=1.5), version(2, loss=1.0), {}, "Passed"),
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
