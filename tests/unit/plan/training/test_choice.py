"""Which version fulfils a spec, or how it is trained, from what the registry is known to hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.builders import adapter, base_id, base_model, recipe_of, resolved_base, seen, served_version, version

from graft_operator.api.base_model import Drift
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.training.recipe_choice import (
    Candidate,
    CandidateDecision,
    choose,
    recipes_to_look_up,
    with_candidate,
)
from graft_operator.plan.training.versions import comparison_baseline, summary
from graft_registry.documents import StoredVersion

LIMITS = Evaluation()
AWAY = Unknown(reason="RegistryUnavailable", message="no route")
LIVE = version(1, recipe="sha256:" + "0" * 64, loss=1.0)
WARM = Candidate(("warm", "warm merged"))
COLD = Candidate(("cold", "cold merged"))
GOOD, BAD = version(2, recipe="sha256:" + "2" * 64, loss=1.0), version(3, recipe="sha256:" + "3" * 64, loss=9.0)
AT_HAND = version(1, recipe="sha256:" + "0" * 64)
OF_LIVE = Candidate((LIVE.manifest.recipe, "merged"))
NOTHING: Known[StoredVersion] = Known(None)


@dataclass(frozen=True, kw_only=True)
class Case:
    ways: tuple[Candidate, ...] = (WARM, COLD)
    published: dict[str, Known[StoredVersion] | Unknown] = field(default_factory=dict)
    live: StoredVersion | None = LIVE
    target: StoredVersion | None = None
    expected: CandidateDecision


CASES = {
    "nothing can be told yet": Case(ways=(), expected=CandidateDecision()),
    "nothing is published: the first way is due": Case(
        published={"warm": NOTHING, "cold": NOTHING}, expected=CandidateDecision(WARM)
    ),
    "what the registry holds is used": Case(published={"warm": Known(GOOD)}, expected=CandidateDecision(WARM, GOOD)),
    "a merged version of the same training does as well": Case(
        published={"warm": NOTHING, "warm merged": Known(GOOD)}, expected=CandidateDecision(WARM, GOOD)
    ),
    "a way that failed its gate is followed by the next": Case(
        published={"warm": Known(BAD), "cold": NOTHING}, expected=CandidateDecision(COLD, None, (BAD,))
    ),
    "the last way stands, though it failed": Case(
        published={"warm": Known(BAD), "cold": Known(BAD)}, expected=CandidateDecision(COLD, BAD, (BAD,))
    ),
    "what is served needs no registry": Case(
        ways=(OF_LIVE,), published={LIVE.manifest.recipe: AWAY}, expected=CandidateDecision(OF_LIVE, LIVE)
    ),
    "nor what is on its way to the pods": Case(
        ways=(OF_LIVE,), live=GOOD, target=AT_HAND, expected=CandidateDecision(OF_LIVE, AT_HAND)
    ),
    "an answer that is not there yet decides nothing": Case(
        published={"warm": AWAY, "cold": Known(GOOD)}, expected=CandidateDecision(WARM, None, (), AWAY)
    ),
    "not even where only the next way is not known": Case(
        published={"warm": Known(BAD), "cold": AWAY}, expected=CandidateDecision(COLD, None, (BAD,), AWAY)
    ),
    "an answer that does not matter is not waited for": Case(
        published={"warm": Known(GOOD), "cold": AWAY}, expected=CandidateDecision(WARM, GOOD)
    ),
    "the training's own version comes before a merged one": Case(
        published={"warm": AWAY, "warm merged": Known(GOOD)}, expected=CandidateDecision(WARM, None, (), AWAY)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_choice(case: Case) -> None:
    assert choose(case.ways, case.published, case.live, LIMITS, (case.target,)) == case.expected


def known(subject: LoraAdapter, *versions: StoredVersion, **serving: Any) -> LoraAdapter:
    """Return the adapter with versions that its status knows, and what it is served with."""
    update = {"versions": tuple(map(summary, versions)), "serving": subject.status.serving.model_copy(update=serving)}
    return subject.model_copy(update={"status": subject.status.model_copy(update=update)})


PLAIN, MERGED = recipe_of(adapter()), recipe_of(adapter(serving={"mode": "Merged"}))
NEAR = Drift(previous=base_id("A"), verdict="Near", relative_change="0.1")
BUMPED = base_model(resolved="B", status={"resolved": resolved_base("B").model_copy(update={"drift": NEAR})})
SERVED = version(1, recipe=PLAIN)


def test_the_registry_is_asked_for_the_recipe_that_would_be_trained() -> None:
    assert recipes_to_look_up(seen()) == (PLAIN,)


def test_and_for_others_that_fulfil_the_spec_where_a_version_of_them_is_known() -> None:
    assert recipes_to_look_up(seen(known(adapter(), version(1, recipe=MERGED)))) == (PLAIN, MERGED)
    assert recipes_to_look_up(seen(history=(version(1, recipe=MERGED),))) == (PLAIN, MERGED)


def test_it_is_asked_for_nothing_where_what_is_served_fulfils_the_spec() -> None:
    assert recipes_to_look_up(seen(live=SERVED)) == ()
    assert recipes_to_look_up(seen(live=version(2), stable=SERVED)) == ()
    assert recipes_to_look_up(seen(adapter(version=3))) == ()
    assert recipes_to_look_up(seen(base=None)) == ()
    assert recipes_to_look_up(seen(dataset_problem="gone")) == ()


def test_after_a_bump_it_is_asked_for_each_way() -> None:
    given = seen(known(adapter(), SERVED), base=BUMPED, live=SERVED)
    warm, cold = recipes_to_look_up(given)
    assert cold == recipe_of(adapter(), "B")
    chosen = with_candidate(replace(given, found={warm: Known(None), cold: Known(None)}))
    assert (chosen.recipe, chosen.warm_start and chosen.warm_start.number) == (warm, 1)
    again = with_candidate(replace(given, found={warm: AWAY}))
    assert (again.published, again.unknown) == (None, AWAY)


def test_the_choice_is_put_into_the_snapshot() -> None:
    found = version(4, recipe=PLAIN)
    chosen = with_candidate(seen(recipe=None, found={PLAIN: Known(found)}))
    assert (chosen.recipe, chosen.published, chosen.unknown) == (PLAIN, found, None)
    auto = with_candidate(seen(adapter(method="Auto"), recipe=None))
    assert auto.adapter.status.chosen_method is not None
    assert auto.adapter.spec.method == "LoRA"


CANARY = {"weight": 10, "startTime": "2026-01-01T00:00:00Z", "stepTime": "2026-01-01T00:00:01Z"}
USERS = {
    "a canary is under way": (CANARY, 1),
    "the target is not everywhere yet": (CANARY | {"weight": 100, "stepTime": None}, 1),
    "the target has taken over, and may yet go back": (CANARY | {"weight": 100}, 2),
    "all is done": (None, 2),
}


@pytest.mark.parametrize(("rollout", "number"), USERS.values(), ids=USERS)
def test_a_version_is_compared_with_what_users_have(rollout: dict[str, Any] | None, number: int) -> None:
    previous = served_version(1).to_wire() if rollout else None
    serving = {"target": served_version(2).to_wire(), "previous": previous, "rollout": rollout}
    given = seen(adapter(status={"serving": serving}), live=version(2), stable=version(1) if previous else None)
    found = comparison_baseline(given)
    assert found is not None
    assert found.manifest.number == number


def test_two_small_steps_down_are_not_taken_one_after_the_other() -> None:
    """Version 1 answers most requests while version 2 tries; version 3 is 8 % worse than version 1, 4 % than 2."""
    recipe = recipe_of(adapter())
    serving = {"target": served_version(2).to_wire(), "previous": served_version(1).to_wire(), "rollout": CANARY}
    worse = version(3, recipe=recipe, loss=1.08)
    given = seen(
        adapter(status={"serving": serving}),
        live=version(2, loss=1.04),
        stable=version(1),
        found={recipe: Known(worse)},
    )
    warm = Candidate((recipe,))
    decided = choose((warm, COLD), {recipe: Known(worse)}, comparison_baseline(given), LIMITS, (given.live,))
    assert decided.rejected == (worse,)
