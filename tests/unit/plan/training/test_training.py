"""The chain of checks: what each one says, and which one is heard when several could speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PARITY,
    PLATFORM,
    adapter,
    base_model,
    digest,
    imported_adapter,
    imported_version,
    job,
    recipe_of,
    resolved_base,
    seen,
    served_version,
    version,
)
from tests.unit.registry.published_memory import LLAMA_2_7B

from graft_operator.api.base_model import ReadaptationStatus
from graft_operator.api.base_shape import BaseShape
from graft_operator.manifests.naming import training_job_name
from graft_operator.plan.actions import CreateJob, DeleteObject
from graft_operator.plan.jobs import OccupiedName
from graft_operator.plan.known import Unknown
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.job import training_is_due
from graft_operator.plan.training.plan import CHECKS, decide_training, superseded_jobs
from graft_operator.plan.training.versions import summary

RECIPE = recipe_of(adapter())
AWAY = Unknown(reason="RegistryUnavailable", message="no route")
LONG_AGO = NOW - timedelta(hours=2)
SERVED = {"serving": {"target": served_version(1).to_wire()}}


QUANTIZED = base_model(status={"resolved": resolved_base(quantization="gptq")})
OF_SHORT_CONTEXT = base_model(serving={"maxModelLength": 4096})
LONG = adapter(method="LongLoRA", serving={"mode": "Merged"}, training={"maxSequenceLength": 8192})
NEVER = base_model(resolved="B", serves=("A", "B"), readaptation={"policy": "Never"})

BOUND = imported_adapter(status={"versions": (summary(imported_version(imported_adapter())).to_wire(),)})
ON_SMALL_GPU = adapter(pod={"resources": {"limits": {"nvidia.com/gpu": "1"}}, "gpuMemory": "1Gi"})
LARGE_BASE = resolved_base(parameters=LLAMA_2_7B.parameters, shape=BaseShape.of(LLAMA_2_7B))


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterSnapshot
    trained: tuple[str, str] | None
    """Status and reason of Trained; None when a Job is due."""
    waits: bool = False
    stalls: bool = False
    accepted: bool = True
    current: int | None = None
    deletes: tuple[str, ...] = ()
    says: str = ""


GRANTING = base_model(
    resolved="B", serves=("A", "B"), status={"readaptation": ReadaptationStatus(granted=("support",))}
)

ON_VERSION_9 = {"objective": "DPO", "preference": {"referenceVersion": 9}}
FULL = base_model(
    resolved="B",
    serves=("A", "B"),
    status={"readaptation": ReadaptationStatus(queued=3, waiting_for="the window opens at 00:00")},
)


def bumped(**fields: Any) -> AdapterSnapshot:
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
    "a pin to a version that holds no merged model stalls in mode Merged": Case(
        given=seen(adapter(version=3, serving={"mode": "Merged"}), pinned=version(3)),
        trained=("Unknown", "VersionNotMerged"),
        stalls=True,
        accepted=False,
        says="spec.version: version 3 holds no merged model",
    ),
    "a pin to a version whose base is nowhere stalls": Case(
        given=seen(adapter(version=3), pinned=version(3), pinned_has_base=False),
        trained=("Unknown", "BaseNotInRegistry"),
        stalls=True,
        accepted=False,
        says="spec.version: version 3 belongs to base sha256:",
    ),
    "but not in mode Merged: that version holds its base": Case(
        given=seen(
            adapter(version=3, serving={"mode": "Merged"}), pinned=version(3, merge=PARITY), pinned_has_base=False
        ),
        trained=("True", "Pinned"),
        current=3,
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
    "a module's own rank above the base's stalls too": Case(
        given=seen(adapter(lora={"rankPattern": {"q_proj": 65}})),
        trained=("Unknown", "RankTooHigh"),
        stalls=True,
        accepted=False,
        says="spec.lora.rankPattern: 65",
    ),
    "PiSSA publishes twice the rank, which is above the base's": Case(
        given=seen(adapter(method="PiSSA", lora={"rank": 33})),
        trained=("Unknown", "RankTooHigh"),
        stalls=True,
        accepted=False,
        says="publishes up to twice that",
    ),
    "a rank above the base's is fine for a merged model": Case(
        given=seen(adapter(lora={"rank": 65}, serving={"mode": "Merged"})), trained=None
    ),
    "nothing is merged into a base that is stored quantized": Case(
        given=seen(adapter(serving={"mode": "Merged"}), base=QUANTIZED),
        trained=("Unknown", "BaseIsQuantized"),
        stalls=True,
        accepted=False,
        says="stored quantized (gptq)",
    ),
    "a merged model's context must not be longer than its engine takes": Case(
        given=seen(LONG, base=OF_SHORT_CONTEXT),
        trained=("Unknown", "ContextTooLong"),
        stalls=True,
        accepted=False,
        says="8192 is above serving.maxModelLength 4096",
    ),
    "an engine without a limit takes any context": Case(given=seen(LONG), trained=None),
    "an adapter is trained beside a base that is stored quantized": Case(given=seen(base=QUANTIZED), trained=None),
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
    "suspension does not wait for data that is gone, and says so": Case(
        given=seen(adapter(suspend=True), dataset_problem="there is no ConfigMap rows", jobs=(job(RECIPE),)),
        trained=("False", "Suspended"),
        accepted=False,
        deletes=(job(RECIPE).name,),
    ),
    "nor for a base": Case(
        given=seen(adapter(suspend=True), base=base_model(resolved=None), jobs=(job(RECIPE),)),
        trained=("False", "Suspended"),
        deletes=(job(RECIPE).name,),
    ),
    "suspension stops a training whose base was deleted": Case(
        given=seen(adapter(suspend=True), base=None, jobs=(job(RECIPE),)),
        trained=("Unknown", "BaseModelNotFound"),
        waits=True,
        accepted=False,
        deletes=(job(RECIPE).name,),
    ),
    "and one that can't be served any more": Case(
        given=seen(adapter(suspend=True, lora={"rank": 65}), jobs=(job(recipe_of(adapter(lora={"rank": 65}))),)),
        trained=("Unknown", "RankTooHigh"),
        stalls=True,
        accepted=False,
        deletes=(job(recipe_of(adapter(lora={"rank": 65}))).name,),
    ),
    "while the registry is silent nothing is trained": Case(
        given=seen(unknown=AWAY), trained=("Unknown", "RegistryUnavailable"), waits=True, says="no route"
    ),
    "nor while it is being asked": Case(
        given=seen(unknown=Unknown()), trained=("Unknown", "RegistryNotAsked"), waits=True
    ),
    "what does not pass stalls": Case(
        given=seen(unknown=Unknown(reason="RegistryCorrupt", message="manifest 3", is_transient=False)),
        trained=("Unknown", "RegistryCorrupt"),
        stalls=True,
    ),
    "a pin that can't be looked up is no wrong pin": Case(
        given=seen(adapter(version=3), unknown=AWAY), trained=("Unknown", "RegistryUnavailable"), waits=True
    ),
    "a training that runs goes on meanwhile": Case(
        given=seen(unknown=AWAY, jobs=(job(RECIPE),)), trained=("False", "Training"), waits=True
    ),
    "a version is not taken for lost meanwhile": Case(
        given=seen(unknown=AWAY, jobs=(job(RECIPE, "Succeeded", ended_time=LONG_AGO),)),
        trained=("Unknown", "RegistryUnavailable"),
        waits=True,
    ),
    "a Job whose version is published is kept for its logs": Case(
        given=seen(published=version(2), jobs=(job(RECIPE, "Succeeded", ended_time=NOW - timedelta(hours=23)),)),
        trained=("True", "Trained"),
        current=2,
    ),
    "for a day": Case(
        given=seen(published=version(2), jobs=(job(RECIPE, "Succeeded", ended_time=NOW - timedelta(hours=24)),)),
        trained=("True", "Trained"),
        current=2,
        deletes=(job(RECIPE).name,),
    ),
    "or as long as the user wants": Case(
        given=seen(
            adapter(pod={"ttlSecondsAfterFinished": 60}),
            published=version(2),
            jobs=(job(RECIPE, "Succeeded", ended_time=NOW - timedelta(seconds=61)),),
        ),
        trained=("True", "Trained"),
        current=2,
        deletes=(job(RECIPE).name,),
    ),
    "one that a mesh keeps up goes at once": Case(
        given=seen(published=version(2), jobs=(job(RECIPE, "Succeeded", ended_time=NOW, lingers=True),)),
        trained=("True", "Trained"),
        current=2,
        deletes=(job(RECIPE).name,),
    ),
    "one that has published and is about to end is left alone": Case(
        given=seen(published=version(2), jobs=(job(RECIPE),)), trained=("True", "Trained"), current=2
    ),
    "a published recipe whose Job somebody has deleted needs no other": Case(
        given=seen(published=version(2), jobs=()), trained=("True", "Trained"), current=2
    ),
    "a Job that has failed for good stalls": Case(
        given=seen(jobs=(job(RECIPE, "Failed", outcome_reason="BadDataset"),)),
        trained=("False", "BadDataset"),
        stalls=True,
    ),
    "a Job that runs is waited for": Case(given=seen(jobs=(job(RECIPE),)), trained=("False", "Training"), waits=True),
    "a Job that ran out of memory makes way for one with a smaller batch": Case(
        given=seen(jobs=(job(RECIPE, "Failed", outcome_reason="OutOfMemory"),)), trained=None
    ),
    "a Job of another recipe does not count": Case(given=seen(jobs=(job(digest("other")),)), trained=None),
    "nothing is there: a Job is due": Case(given=seen(), trained=None),
    "a base bump trains again those that it is the turn of": Case(given=bumped(base=GRANTING), trained=None),
    "a base bump waits for its turn": Case(
        given=bumped(), trained=("False", "ReadaptationQueued"), waits=True, says="has not given it a turn yet"
    ),
    "what it waits for is said in the words of its base": Case(
        given=bumped(base=FULL), trained=("False", "ReadaptationQueued"), waits=True, says="opens at 00:00; 3 wait"
    ),
    "a first training waits for no turn": Case(given=seen(), trained=None),
    "a Job that runs is not stopped for want of a turn": Case(
        given=bumped(jobs=(job(recipe_of(adapter(), "B")),)),
        trained=("False", "Training"),
        waits=True,
    ),
    "with policy Never the version on the former base is the current one": Case(
        given=bumped(base=NEVER, kept_base=resolved_base("A"), published=version(1)),
        trained=("True", "Trained"),
        current=1,
    ),
    "with policy Never a changed spec is trained on the former base, and takes no place": Case(
        given=bumped(base=NEVER, kept_base=resolved_base("A")), trained=None
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
            ("readaptation_is_queued", {"live": version(1, base="B")}),
            ("gpu_is_too_small", {"adapter": ON_SMALL_GPU, "base": base_model(status={"resolved": LARGE_BASE})}),
            ("version_has_vanished", {"jobs": (job(RECIPE, "Succeeded"),)}),
            ("registry_is_silent", {"unknown": AWAY}),
            ("training_is_running", {"jobs": (job(RECIPE),)}),
            ("deadline_is_exceeded", {"jobs": (job(RECIPE, ran=((NOW - timedelta(days=2), None),)),)}),
            ("training_has_failed", {"jobs": (job(RECIPE, "Failed"),)}),
            (
                "preparation_is_given_up",
                {
                    "adapter": adapter(pod={"resources": {"limits": {"nvidia.com/gpu": "1"}}}),
                    "jobs": (job(RECIPE, "Failed", prepares=True),),
                },
            ),
            ("job_is_outdated", {"jobs": (job(RECIPE, "Failed", pod_settings=digest("other settings")),)}),
            ("adapter_is_suspended", {"adapter": adapter(suspend=True), "unknown": None}),
            ("version_is_published", {"published": version(2)}),
            ("engine_is_too_short", {"adapter": LONG, "base": OF_SHORT_CONTEXT}),
            ("base_cannot_be_merged_into", {"adapter": adapter(serving={"mode": "Merged"}), "base": QUANTIZED}),
            ("rank_exceeds_base", {"adapter": adapter(lora={"rank": 65})}),
            ("base_is_unresolved", {"recipe": None}),
            ("bound_base_is_missing", {"adapter": BOUND, "base": base_model(resolved="B")}),
            ("source_is_unresolved", {"adapter": imported_adapter(source={"interval": "1h"})}),
            ("reference_is_unusable", {"adapter": adapter(training=ON_VERSION_9)}),
            ("reference_is_unknown", {"unknown": AWAY}),
            ("dataset_is_missing", {"dataset_problem": "gone"}),
            ("suspended_before_resolved", {"adapter": adapter(suspend=True), "unknown": None}),
            ("version_is_pinned", {"adapter": adapter(version=3)}),
            ("pinned_version_has_no_base", {"pinned": version(3), "pinned_has_base": False}),
            (
                "pinned_version_fits_other_mode",
                {"adapter": adapter(version=3, serving={"mode": "Merged"}), "pinned": version(3)},
            ),
            ("base_is_missing", {"base": None}),
        ]
    )


@pytest.mark.parametrize("count", range(1, len(Everything().order) + 1))
def test_the_order_of_the_chain(count: int) -> None:
    fields: dict[str, Any] = {"adapter": adapter(), "base": base_model(), "recipe": RECIPE}
    for _, changes in Everything().order[:count]:
        fields |= changes
    expected, _ = Everything().order[count - 1]
    given = AdapterSnapshot(**fields)
    speaking = [check.__name__ for check in CHECKS if check(given, NOW) is not None]
    assert speaking[0] == expected


def test_every_check_has_its_place_in_the_order() -> None:
    named = {name for name, _ in Everything().order}
    assert named == {check.__name__ for check in CHECKS}


def test_jobs_of_other_recipes_are_deleted() -> None:
    other = job(digest("other"), "Succeeded")
    assert superseded_jobs(seen(jobs=(job(RECIPE), other))) == (DeleteObject("Job", other.name, other.uid),)


def test_no_job_is_superseded_while_it_can_t_be_told_what_is_asked_for() -> None:
    assert superseded_jobs(seen(jobs=(job(digest("other")),), unknown=AWAY)) == ()


def test_the_end_of_a_kept_job_is_looked_for_in_time() -> None:
    ended = job(RECIPE, "Succeeded", ended_time=NOW - timedelta(hours=23))
    verdict = decide_training(seen(published=version(2), jobs=(ended,)), NOW)
    assert verdict is not None
    assert verdict.requeue_after == 3600


TAKEN = {
    "a Job of ours that ends": (True, "it ends once its pods have", "JobEnding", False),
    "somebody else's": (False, "it belongs to nobody", "JobNameTaken", True),
}


@pytest.mark.parametrize(("ending", "message", "reason", "stalls"), TAKEN.values(), ids=TAKEN)
def test_a_job_whose_name_is_taken_is_not_said_to_be_created(
    ending: bool, message: str, reason: str, stalls: bool
) -> None:
    taken = (OccupiedName(name=training_job_name("support", RECIPE), ending=ending, message=message),)
    due = training_is_due(seen(occupied_names=taken), PLATFORM)
    assert (due.trained.reason, due.stalled is not None, due.actions) == (reason, stalls, ())
    assert message in due.trained.message
    other = training_is_due(seen(adapter(lora={"rank": 8}), occupied_names=taken), PLATFORM)
    assert [type(action) for action in other.actions] == [CreateJob]


def test_no_job_is_superseded_while_the_recipe_is_unknown() -> None:
    assert superseded_jobs(seen(base=base_model(resolved=None), jobs=(job(RECIPE),))) == ()
