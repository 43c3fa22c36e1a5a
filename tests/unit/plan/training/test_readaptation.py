"""How an adapter gets onto a changed base: which candidates there are, in which order, and when the next one is due."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.builders import adapter, base_id, base_model, recipe_of, resolved_base, version

from graft_operator.api.adapter_status import Version, WarmStart
from graft_operator.api.base_model import BaseModel, Drift, ResolvedBase
from graft_operator.api.evaluation import Evaluation
from graft_operator.plan.training.recipe import fulfilling_recipes
from graft_operator.plan.training.recipe_choice import Candidate, candidates, has_failed, with_rejected
from graft_operator.plan.training.versions import summary
from graft_registry.documents import StoredVersion

SPEC = adapter().spec
MERGED = adapter(serving={"mode": "Merged"})
ON_A, ON_B = recipe_of(adapter(), "A"), recipe_of(adapter(), "B")
COLD = Candidate((ON_B, recipe_of(MERGED, "B")))


def on_b(verdict: str = "Near", *, previous: str = "A", change: str | None = "0.154") -> ResolvedBase:
    """Return base B, as far from the one before as ``verdict`` says."""
    drift = Drift.model_validate({"previous": base_id(previous), "verdict": verdict, "relativeChange": change})
    return resolved_base("B").model_copy(update={"drift": drift})


def start(stored: StoredVersion) -> WarmStart:
    return WarmStart(number=stored.manifest.number, digest=stored.digest)


def warm(stored: StoredVersion, base: str = "B") -> Candidate:
    """Return the warm start from a version on a base."""
    return Candidate(_recipes(base_digest=base_id(base), warm_start=start(stored)), start(stored))


def warmed(number: int, begun_with: StoredVersion, **fields: Any) -> StoredVersion:
    """Return a version on base B that was warm-started from another one."""
    origin = {"number": begun_with.manifest.number, "manifestDigest": begun_with.digest}
    return version(number, base="B", recipe=warm(begun_with).recipes[0], warmStart=origin, **fields)


_recipes = partial(fulfilling_recipes, SPEC, dataset_digest=None)
COLD_ON_A = Candidate(_recipes(base_digest=base_id("A")))
LIVE = version(1, recipe=ON_A)
LIVE_MERGED = version(1, recipe=recipe_of(MERGED))
OTHER_SPEC = version(1, recipe=recipe_of(adapter(lora={"rank": 8})))
WARM_2 = warmed(2, LIVE)
COLD_3 = version(3, base="B", recipe=ON_B)
NEAR = on_b()
BASE = base_model(resolved="B", serves=("A", "B"))


@dataclass(frozen=True, kw_only=True)
class Case:
    expected: tuple[Candidate, ...]
    target: ResolvedBase = NEAR
    live: StoredVersion | None = LIVE
    known: tuple[Version, ...] = (summary(LIVE),)
    base: BaseModel = BASE


CASES = {
    "a near base: warm start first": Case(expected=(warm(LIVE), COLD)),
    "only the tokenizer has changed: warm start first": Case(
        target=on_b("TokenizerOnly", change="0"), expected=(warm(LIVE), COLD)
    ),
    "a different base: from nothing": Case(target=on_b("Different", change="1.43"), expected=(COLD,)),
    "other shapes: from nothing": Case(target=on_b("Different", change=None), expected=(COLD,)),
    "a drift that was not measured: from nothing": Case(target=resolved_base("B"), expected=(COLD,)),
    "a drift from another base than the adapter's: from nothing": Case(target=on_b(previous="C"), expected=(COLD,)),
    "strategy Cold: from nothing": Case(
        base=base_model(resolved="B", readaptation={"strategy": "Cold"}), expected=(COLD,)
    ),
    "a first training: from nothing": Case(live=None, known=(), expected=(COLD,)),
    "the spec has changed as well: from nothing": Case(live=OTHER_SPEC, known=(summary(OTHER_SPEC),), expected=(COLD,)),
    "a method whose initialisation belongs to its base: from nothing": Case(
        live=version(1, recipe=ON_A, method="PiSSA"), expected=(COLD,)
    ),
    "the same base as before: from nothing, and that is what is served": Case(
        target=resolved_base("A"), expected=(COLD_ON_A,)
    ),
    "a merged version on the same base does as well, and is what is served": Case(
        target=resolved_base("A"), live=LIVE_MERGED, known=(summary(LIVE_MERGED),), expected=(COLD_ON_A,)
    ),
    "a merged version is a beginning, too": Case(
        live=LIVE_MERGED, known=(summary(LIVE_MERGED),), expected=(warm(LIVE_MERGED), COLD)
    ),
    "a warm start that is served stays the answer to the spec": Case(
        live=WARM_2, known=(summary(WARM_2), summary(LIVE)), expected=(warm(LIVE), COLD)
    ),
    "a warm start that failed its gate is remembered, for the gate to say so again": Case(
        known=(summary(WARM_2, "Rejected"), summary(LIVE)), expected=(warm(LIVE), COLD)
    ),
    "a warm start is found again after the base went back and came again": Case(
        target=resolved_base("B"), known=(summary(WARM_2), summary(LIVE)), expected=(warm(LIVE), COLD)
    ),
    "a warm start is found again even if only cold ones are made now": Case(
        live=WARM_2,
        known=(summary(WARM_2), summary(LIVE)),
        base=base_model(resolved="B", readaptation={"strategy": "Cold"}),
        expected=(warm(LIVE), COLD),
    ),
    "once trained from nothing, the warm start that failed is out": Case(
        live=COLD_3, known=(summary(COLD_3), summary(WARM_2, "Rejected"), summary(LIVE)), expected=(COLD,)
    ),
    "even for an object that has lost its status": Case(
        live=None, known=(summary(COLD_3), summary(WARM_2), summary(LIVE)), expected=(COLD,)
    ),
    "a version that was itself warm-started is a beginning for the next base": Case(
        target=resolved_base("C").model_copy(
            update={"drift": Drift(previous=base_id("B"), verdict="Near", relative_change="0.1")}
        ),
        live=WARM_2,
        known=(summary(WARM_2), summary(LIVE)),
        expected=(warm(WARM_2, "C"), Candidate(_recipes(base_digest=base_id("C")))),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_candidates(case: Case) -> None:
    assert candidates(_recipes, case.base, case.target, case.live, case.known) == case.expected


FAILED: dict[str, tuple[StoredVersion, bool]] = {
    "as good as the served one passes": (warmed(2, LIVE), False),
    "a regression beyond the limit fails": (warmed(2, LIVE, loss=1.2), True),
    "worse than the base alone fails": (warmed(2, LIVE, loss=2.1), True),
}


@pytest.mark.parametrize(("stored", "failed"), FAILED.values(), ids=FAILED)
def test_the_next_candidate_is_due_when_the_gate_says_no(stored: StoredVersion, failed: bool) -> None:
    assert has_failed(stored, LIVE, Evaluation()) == failed


def test_a_candidate_that_failed_is_told_of_with_the_reason() -> None:
    worse = warmed(2, LIVE, loss=1.2)
    newest, oldest = with_rejected((summary(LIVE),), (worse,), LIVE, Evaluation())
    assert (newest.number, newest.state, newest.warm_start) == (2, "Rejected", start(LIVE))
    assert "20.0% worse than version 1's" in newest.message
    assert oldest == summary(LIVE)
