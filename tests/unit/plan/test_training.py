"""The chain of checks: what each one says, and which one is heard when several could speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, base_model, digest, job, recipe_of, seen, served_version, version

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.training import CHECKS, RETRY_SECONDS, decide_training, next_look, superseded_jobs

RECIPE = recipe_of(adapter())
SERVED = {"serving": {"target": served_version(1).to_wire()}}
JUST_NOW = NOW - timedelta(seconds=10)
LONG_AGO = NOW - timedelta(seconds=RETRY_SECONDS + 1)


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterObserved
    trained: tuple[str, str] | None
    """Status and reason of Trained; None when a Job is due."""
    waits: bool = False
    stalls: bool = False
    accepted: bool = True
    current: int | None = None
    deletes: tuple[str, ...] = ()
    says: str = ""


def bumped(**fields: Any) -> AdapterObserved:
    """An adapter that is served on base A, while the base has become B."""
    base = fields.pop("base", base_model(resolved="B", serves=("A", "B")))
    return seen(fields.pop("subject", None), base=base, live=version(1), **fields)


CASES = {
    "a missing base is waited for": Case(
        given=seen(base=None, base_problem="there is no BaseModel tiny"),
        trained=("Unknown", "BaseModelNotFound"),
        waits=True,
        accepted=False,
    ),
    "an unresolved base is waited for": Case(
        given=seen(base=base_model(resolved=None)), trained=("Unknown", "BaseModelNotResolved"), waits=True
    ),
    "a missing dataset is waited for, since it may be applied later": Case(
        given=seen(dataset_problem="there is no ConfigMap rows"),
        trained=("Unknown", "DatasetNotFound"),
        waits=True,
        accepted=False,
    ),
    "a pin names the current version": Case(
        given=seen(adapter(version=3), pinned=version(3)), trained=("True", "Pinned"), current=3
    ),
    "a pin to nowhere stalls": Case(
        given=seen(adapter(version=3)),
        trained=("Unknown", "VersionNotFound"),
        stalls=True,
        accepted=False,
        says="spec.version",
    ),
    "a pin stops the Job that runs": Case(
        given=seen(adapter(version=3), pinned=version(3), jobs=(job(RECIPE),)),
        trained=("True", "Pinned"),
        current=3,
        deletes=(job(RECIPE).name,),
    ),
    "a pin wins over a dataset that is missing": Case(
        given=seen(adapter(version=3), pinned=version(3), dataset_problem="gone"), trained=("True", "Pinned"), current=3
    ),
    "a rank above the base's stalls before a GPU is taken": Case(
        given=seen(adapter(lora={"rank": 65})),
        trained=("Unknown", "RankTooHigh"),
        stalls=True,
        accepted=False,
        says="spec.lora.rank: 65",
    ),
    "a rank above the base's is fine for an adapter that is not served": Case(
        given=seen(adapter(lora={"rank": 65}, serving={"mode": "None"})), trained=None
    ),
    "a published recipe needs no training": Case(
        given=seen(published=version(2, recipe=RECIPE)), trained=("True", "Trained"), current=2
    ),
    "a published recipe is used even while suspended": Case(
        given=seen(adapter(suspend=True), published=version(2, recipe=RECIPE)), trained=("True", "Trained"), current=2
    ),
    "a published recipe is used even if its Job has failed since": Case(
        given=seen(published=version(2), jobs=(job(RECIPE, "Failed"),)), trained=("True", "Trained"), current=2
    ),
    "suspension stops the Job that runs": Case(
        given=seen(adapter(suspend=True), jobs=(job(RECIPE),)),
        trained=("False", "Suspended"),
        deletes=(job(RECIPE).name,),
    ),
    "suspension leaves a failed Job for people to look at": Case(
        given=seen(adapter(suspend=True), jobs=(job(RECIPE, "Failed"),)), trained=("False", "Suspended")
    ),
    "bad data stalls and says how to go on": Case(
        given=seen(jobs=(job(RECIPE, "Failed", outcome_reason="BadDataset", outcome_message="row 3 has no answer"),)),
        trained=("False", "BadDataset"),
        stalls=True,
        says="row 3 has no answer; to try again unchanged, delete Job",
    ),
    "a Job beyond its deadline stalls": Case(
        given=seen(jobs=(job(RECIPE, "Failed", failure_reason="DeadlineExceeded", outcome_reason="Preempted"),)),
        trained=("False", "DeadlineExceeded"),
        stalls=True,
        says="spec.training.deadlineSeconds",
    ),
    "a registry that is away rests the Job": Case(
        given=seen(jobs=(job(RECIPE, "Failed", outcome_reason="RegistryUnavailable", ended_time=JUST_NOW),)),
        trained=("False", "RegistryUnavailable"),
        waits=True,
        says="tried again after 12:04:50 UTC",
    ),
    "a Job that has rested is deleted, and so created anew": Case(
        given=seen(jobs=(job(RECIPE, "Failed", outcome_reason="Crashed", ended_time=LONG_AGO),)),
        trained=("False", "Crashed"),
        waits=True,
        deletes=(job(RECIPE).name,),
    ),
    "a Job that failed without a word is told as the Job controller tells it": Case(
        given=seen(jobs=(job(RECIPE, "Failed", failure_reason="BackoffLimitExceeded", ended_time=JUST_NOW),)),
        trained=("False", "TrainingFailed"),
        waits=True,
        says="BackoffLimitExceeded",
    ),
    "a success without a version rests first, in case two registries disagree": Case(
        given=seen(jobs=(job(RECIPE, "Succeeded", ended_time=JUST_NOW),)),
        trained=("False", "VersionMissing"),
        waits=True,
    ),
    "a success whose version stays away is trained again": Case(
        given=seen(jobs=(job(RECIPE, "Succeeded", ended_time=LONG_AGO),)),
        trained=("False", "VersionMissing"),
        waits=True,
        deletes=(job(RECIPE).name,),
    ),
    "a Job that runs is waited for": Case(given=seen(jobs=(job(RECIPE),)), trained=("False", "Training"), waits=True),
    "a pod that can't be scheduled is told": Case(
        given=seen(jobs=(job(RECIPE, waiting="Unschedulable: 0/3 nodes are available"),)),
        trained=("False", "Unschedulable"),
        waits=True,
        says="0/3 nodes",
    ),
    "a Job of another recipe does not count": Case(given=seen(jobs=(job(digest("other")),)), trained=None),
    "nothing is there: a Job is due": Case(given=seen(), trained=None),
    "a base bump trains again": Case(given=bumped(), trained=None),
    "a base bump waits for a place": Case(
        given=bumped(readaptations=2), trained=("False", "ReadaptationQueued"), waits=True, says="maxParallel"
    ),
    "a first training needs no place": Case(given=seen(readaptations=9), trained=None),
    "a Job that has its place keeps it": Case(
        given=bumped(readaptations=2, jobs=(job(recipe_of(adapter(), "B")),)),
        trained=("False", "Training"),
        waits=True,
    ),
    "with policy Never the adapter stays where it is": Case(
        given=bumped(base=base_model(resolved="B", readaptation={"policy": "Never"})),
        trained=("True", "KeptOnOldBase"),
        current=1,
    ),
    "with policy Never a re-adaptation that runs is stopped": Case(
        given=bumped(
            base=base_model(resolved="B", readaptation={"policy": "Never"}), jobs=(job(recipe_of(adapter(), "B")),)
        ),
        trained=("True", "KeptOnOldBase"),
        current=1,
        deletes=(job(recipe_of(adapter(), "B")).name,),
    ),
    "with policy Never a changed spec on the same base is trained": Case(
        given=seen(base=base_model(readaptation={"policy": "Never"}), live=version(1)), trained=None
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_check(case: Case) -> None:
    verdict = decide_training(case.given, NOW)
    if case.trained is None:
        assert verdict is None
        return
    assert verdict is not None
    assert (verdict.trained.status, verdict.trained.reason) == case.trained
    assert (verdict.waiting is not None) == case.waits
    assert (verdict.stalled is not None) == case.stalls
    assert (verdict.accepted.status == "True") == case.accepted
    assert (verdict.current.manifest.number if verdict.current else None) == case.current
    assert tuple(action.name for action in verdict.actions if isinstance(action, DeleteObject)) == case.deletes
    assert case.says in (verdict.stalled or verdict.waiting or verdict.trained).message


@dataclass(frozen=True)
class Everything:
    """Reasons for every check to speak, from the last to the first: each one added silences those before."""

    order: list[tuple[str, dict[str, Any]]] = field(
        default_factory=lambda: [
            ("place_is_taken", {"live": version(1, base="B"), "readaptations": 9}),
            ("training_is_running", {"jobs": (job(RECIPE),)}),
            ("training_has_failed", {"jobs": (job(RECIPE, "Failed"),)}),
            ("adapter_is_suspended", {"adapter": adapter(suspend=True)}),
            ("base_moved_on_without_us", {"base": base_model(readaptation={"policy": "Never"})}),
            ("version_is_published", {"published": version(2)}),
            ("rank_exceeds_base", {"adapter": adapter(lora={"rank": 65})}),
            ("base_is_unresolved", {"recipe": None}),
            ("dataset_is_missing", {"dataset_problem": "gone"}),
            ("version_is_pinned", {"adapter": adapter(version=3)}),
            ("base_is_missing", {"base": None}),
        ]
    )


@pytest.mark.parametrize("count", range(1, len(Everything().order) + 1))
def test_the_order_of_the_chain(count: int) -> None:
    fields: dict[str, Any] = {"adapter": adapter(), "base": base_model(), "recipe": RECIPE}
    for _, changes in Everything().order[:count]:
        fields |= changes
    expected, _ = Everything().order[count - 1]
    given = AdapterObserved(**fields)
    speaking = [check.__name__ for check in CHECKS if check(given, NOW) is not None]
    assert speaking[0] == expected


def test_every_check_has_its_place_in_the_order() -> None:
    named = {name for name, _ in Everything().order} | {"version_has_vanished"}
    assert named == {check.__name__ for check in CHECKS}


def test_a_verdict_changes_only_with_what_it_is_about() -> None:
    """A message that counts the seconds down would be a new status, and so a new look, every second."""
    failed = seen(jobs=(job(RECIPE, "Failed", outcome_reason="Crashed", ended_time=JUST_NOW),))
    now, later = decide_training(failed, NOW), decide_training(failed, NOW + timedelta(seconds=1))
    assert now is not None
    assert later is not None
    assert now.trained == later.trained


def test_jobs_of_other_recipes_are_deleted() -> None:
    other = job(digest("other"), "Succeeded")
    assert superseded_jobs(seen(jobs=(job(RECIPE), other))) == (DeleteObject("Job", other.name, other.uid),)


def test_no_job_is_superseded_while_the_recipe_is_unknown() -> None:
    assert superseded_jobs(seen(base=base_model(resolved=None), jobs=(job(RECIPE),))) == ()


LOOKS = {
    "nothing is known yet": ("Loading", None, 3.0),
    "an hour is left": ("Training", 3600, 15.0),
    "a minute is left": ("Training", 40, 10.0),
    "a second is left": ("Training", 1, 1.0),
    "it is about to publish": ("Publishing", 3600, 1.0),
}


@pytest.mark.parametrize(("state", "eta", "seconds"), LOOKS.values(), ids=LOOKS)
def test_the_next_look_comes_sooner_towards_the_end(state: str, eta: int | None, seconds: float) -> None:
    progress = TrainingProgress(job="job", recipe=RECIPE, state=state, eta_seconds=eta)
    assert next_look(progress) == seconds
