"""How trainings fail, and what becomes of each failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, digest, job, recipe_of, seen

from graft_operator.manifests.training_job import pod_settings_digest
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.checks import decide_training
from graft_operator.plan.training.failures import RETRY_SECONDS

RECIPE = recipe_of(adapter())
JUST_NOW = NOW - timedelta(seconds=10)
LONG_AGO = NOW - timedelta(seconds=RETRY_SECONDS + 1)
OTHER_SETTINGS = digest("other settings")
OVERFLOW = {"outcome_reason": "OutOfMemory", "outcome_message": "CUDA out of memory"}


def failed(**fields: Any) -> AdapterSnapshot:
    return seen(jobs=(job(RECIPE, "Failed", **fields),))


def overflowed(*batches: int, last: str = "Failed", **spec: Any) -> AdapterSnapshot:
    """An adapter whose trainings ran out of memory one after the other; the last one is in the given state."""
    subject = adapter(**spec)
    recipe = recipe_of(subject)
    *before, newest = batches
    jobs = [job(recipe, "Failed", name=f"b{rows}", uid=f"b{rows}", micro_batch=rows, **OVERFLOW) for rows in before]
    jobs.append(job(recipe, last, micro_batch=newest, **(OVERFLOW if last == "Failed" else {})))
    return seen(subject, jobs=tuple(jobs))


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterSnapshot
    reason: str | None
    """Reason of Trained; None when another Job is due."""
    stalls: bool = False
    deletes: tuple[str, ...] = ()
    says: str = ""


CASES = {
    **{
        f"{reason} stalls and says how to go on": Case(
            given=failed(outcome_reason=reason, outcome_message="spec.field: it is wrong"),
            reason=reason,
            stalls=True,
            says="spec.field: it is wrong; to try again unchanged, delete Job",
        )
        for reason in ("InvalidConfig", "BadDataset", "BaseMismatch", "Diverged")
    },
    "a Job beyond its deadline stalls, whatever its pods said": Case(
        given=failed(failure_reason="DeadlineExceeded", outcome_reason="Preempted"),
        reason="DeadlineExceeded",
        stalls=True,
        says="spec.training.deadlineSeconds: Job",
    ),
    "a higher deadline goes on from the checkpoint": Case(
        given=failed(failure_reason="DeadlineExceeded", pod_settings=OTHER_SETTINGS),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
        says="from its last checkpoint",
    ),
    "out of memory is tried with a smaller batch at once": Case(given=overflowed(4), reason=None),
    "but not before the other workers are gone": Case(
        given=failed(micro_batch=4, pods_running=True, **OVERFLOW), reason="OutOfMemory", says="waits for its pods"
    ),
    "and with a smaller one again": Case(given=overflowed(4, 2), reason=None),
    "a smaller batch that runs is left alone": Case(given=overflowed(4, 2, last="Active"), reason="Training"),
    "out of memory with one row stalls and names three ways out": Case(
        given=overflowed(4, 2, 1),
        reason="OutOfMemory",
        stalls=True,
        says="spec.training.batchSize: one row per forward pass is too much (CUDA out of memory); use method QLoRA,"
        " lower spec.training.maxSequenceLength, or give more memory in spec.pod.resources",
    ),
    "more memory begins again with the user's batch": Case(
        given=seen(
            jobs=tuple(
                job(RECIPE, "Failed", name=f"b{rows}", micro_batch=rows, pod_settings=OTHER_SETTINGS, **OVERFLOW)
                for rows in (4, 2, 1)
            )
        ),
        reason="PodSettingsChanged",
        deletes=("b4", "b2", "b1"),
    ),
    "settings that nobody has changed are no reason to begin again": Case(
        given=failed(outcome_reason="BadDataset", pod_settings=pod_settings_digest(adapter().spec)),
        reason="BadDataset",
        stalls=True,
    ),
    "a pod that no node takes is made anew when its settings change": Case(
        given=seen(jobs=(job(RECIPE, waiting="Unschedulable: no node", pod_settings=OTHER_SETTINGS),)),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
    ),
    "a Job that waits for quota is made anew when its settings change": Case(
        given=seen(jobs=(job(RECIPE, suspended=True, pod_settings=OTHER_SETTINGS),)),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
    ),
    "a training that runs is not disturbed by other settings": Case(
        given=seen(jobs=(job(RECIPE, pod_settings=OTHER_SETTINGS),)), reason="Training"
    ),
    "a registry that is away rests the Job": Case(
        given=failed(outcome_reason="RegistryUnavailable", ended_time=JUST_NOW),
        reason="RegistryUnavailable",
        says="tried again after 12:04:50 UTC",
    ),
    "a Job that has rested is deleted, and so created anew": Case(
        given=failed(outcome_reason="Crashed", ended_time=LONG_AGO), reason="Crashed", deletes=(job(RECIPE).name,)
    ),
    "a crash of the smaller batch leaves the Job that tells how small it is": Case(
        given=seen(
            jobs=(
                job(RECIPE, "Failed", name="b4", micro_batch=4, **OVERFLOW),
                job(RECIPE, "Failed", name="b2", micro_batch=2, outcome_reason="Crashed", ended_time=LONG_AGO),
            )
        ),
        reason="Crashed",
        deletes=("b2",),
    ),
    "a Job that failed without a word is told as the Job controller tells it": Case(
        given=failed(failure_reason="BackoffLimitExceeded", ended_time=JUST_NOW),
        reason="TrainingFailed",
        says="BackoffLimitExceeded",
    ),
    "a success without a version rests first, in case two registries disagree": Case(
        given=seen(jobs=(job(RECIPE, "Succeeded", ended_time=JUST_NOW),)), reason="VersionMissing"
    ),
    "a success whose version stays away is trained again": Case(
        given=seen(jobs=(job(RECIPE, "Succeeded", ended_time=LONG_AGO),)),
        reason="VersionMissing",
        deletes=(job(RECIPE).name,),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_failure(case: Case) -> None:
    verdict = decide_training(case.given, NOW)
    if case.reason is None:
        assert verdict is None
        return
    assert verdict is not None
    assert (verdict.trained.status, verdict.trained.reason) == ("False", case.reason)
    assert (verdict.stalled is not None, verdict.waiting is not None) == (case.stalls, not case.stalls)
    assert tuple(action.name for action in verdict.actions if isinstance(action, DeleteObject)) == case.deletes
    assert case.says in verdict.trained.message


def test_a_verdict_changes_only_with_what_it_is_about() -> None:
    """A message that counts the seconds down would be a new status, and so a new look, every second."""
    given = failed(outcome_reason="Crashed", ended_time=JUST_NOW)
    now, later = decide_training(given, NOW), decide_training(given, NOW + timedelta(seconds=1))
    assert now is not None
    assert later is not None
    assert now.trained == later.trained
