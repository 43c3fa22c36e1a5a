"""How trainings fail, and what becomes of each failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.builders import NOW, PLATFORM, adapter, base_model, digest, job, recipe_of, seen, version

from graft_operator.api.adapter_status import FailedTrainings
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.training_job import pod_settings_digest
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.known import Unknown
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.failure_counts import RETRY_SECONDS, are_alike, rest_seconds
from graft_operator.plan.training.job import training_is_due
from graft_operator.plan.training.plan import decide_training
from graft_operator.plan.training.retry_policy import inputs_of

RECIPE = recipe_of(adapter())
JUST_NOW = NOW - timedelta(seconds=10)
LONG_AGO = NOW - timedelta(seconds=RETRY_SECONDS + 1)
OTHER_SETTINGS = digest("other settings")
OVERFLOW = {"outcome_reason": "OutOfMemory", "outcome_message": "CUDA out of memory"}


def ran(*minutes: tuple[int, int | None]) -> tuple[tuple[datetime, datetime | None], ...]:
    """Pods that ran from so many to so many minutes ago."""
    ago = [
        (NOW - timedelta(minutes=begin), None if end is None else NOW - timedelta(minutes=end))
        for begin, end in minutes
    ]
    return tuple(ago)


def remembered(reason: str, subject: LoraAdapter | None = None, **fields: Any) -> FailedTrainings:
    """What the status holds of a failure."""
    own = {"recipe": RECIPE, "reason": reason, "message": "it is wrong", "job": f"uid-of-{job(RECIPE).name}"}
    return FailedTrainings(**own | {"inputs_digest": inputs_of(seen(subject))} | fields)


def after(
    reason: str, *, asked: dict[str, Any] | None = None, now: LoraAdapter | None = None, **fields: Any
) -> AdapterSnapshot:
    """An adapter whose training has failed, and whose Job somebody has deleted since."""
    known = remembered(reason, **fields)
    subject = now or adapter()
    status = subject.status.model_copy(update={"failed_trainings": known})
    return seen(subject.model_copy(update={"status": status}), **asked or {})


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


def crashed(**fields: Any) -> JobObserved:
    defaults = {"outcome_reason": "Crashed", "outcome_message": "it is wrong", "ended_time": LONG_AGO}
    return job(RECIPE, "Failed", **defaults | fields)


def limited(times: tuple[Any, ...], *, remembers: bool = False, **fields: Any) -> AdapterSnapshot:
    """An adapter that trains, and may do so for an hour."""
    subject = adapter(training={"deadlineSeconds": 3600})
    known = remembered("DeadlineExceeded", subject, job="limited") if remembers else None
    status = subject.status.model_copy(update={"failed_trainings": known})
    subject = subject.model_copy(update={"status": status})
    return seen(subject, jobs=(job(RECIPE, name="limited", uid="limited", ran=times, **fields),))


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
            says="spec.field: it is wrong; to try again unchanged: `kubectl graft retrain support`, or give annotation",
        )
        for reason in ("InvalidConfig", "BadDataset", "BaseMismatch", "Diverged")
    },
    "a Job beyond its deadline stalls, whatever its pods said": Case(
        given=failed(failure_reason="DeadlineExceeded", outcome_reason="Preempted"),
        reason="DeadlineExceeded",
        stalls=True,
        says="spec.training.deadlineSeconds: Job",
    ),
    "a training whose pods have run for too long stalls": Case(
        given=limited(ran((90, 65), (40, 4))),
        reason="DeadlineExceeded",
        stalls=True,
        says="spec.training.deadlineSeconds: Job",
    ),
    "and ends once that is remembered": Case(
        given=limited(ran((90, 65), (40, 4)), remembers=True),
        reason="DeadlineExceeded",
        stalls=True,
        deletes=("limited",),
    ),
    "the time between its pods is not counted": Case(given=limited(ran((900, 875), (40, 6))), reason="Training"),
    "pods that run side by side count once": Case(given=limited(ran((40, None), (40, None))), reason="Training"),
    "a pod that waits for a node has all its time before it": Case(
        given=limited((), waiting="Unschedulable: no node"), reason="Unschedulable"
    ),
    "a deadline that is over is not forgotten with the Job": Case(
        given=after("DeadlineExceeded"), reason="DeadlineExceeded", stalls=True
    ),
    "nor is any other failure that trying again won't mend": Case(
        given=after("BadDataset"), reason="BadDataset", stalls=True, says="it is wrong; to try again unchanged"
    ),
    "nor a row that doesn't fit": Case(given=after("OutOfMemory"), reason="OutOfMemory", stalls=True),
    "another pod may mend it": Case(given=after("BadDataset", now=adapter(pod={"gpuMemory": "80Gi"})), reason=None),
    "another spec is another training": Case(given=after("BadDataset", recipe=digest("other")), reason=None),
    "a person may want to try again unchanged": Case(
        given=after("BadDataset", now=adapter(meta={"annotations": {labels.RETRY: "please"}})), reason=None
    ),
    "another trainer may know the base": Case(
        given=after("BaseMismatch", image="trainer:1", asked={"trainer_image": "trainer:2"}), reason=None
    ),
    "the same one does not": Case(
        given=after("BaseMismatch", image="trainer:1", asked={"trainer_image": "trainer:1"}),
        reason="BaseMismatch",
        stalls=True,
    ),
    "another trainer finds the same bad rows": Case(
        given=after("BadDataset", image="trainer:1", asked={"trainer_image": "trainer:2"}),
        reason="BadDataset",
        stalls=True,
    ),
    "a Job that failed for good goes where a person wants to try again": Case(
        given=after(
            "BadDataset",
            now=adapter(meta={"annotations": {labels.RETRY: "please"}}),
            asked={"jobs": (job(RECIPE, "Failed", outcome_reason="BadDataset"),)},
        ),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
    ),
    "three that crashed alike are enough": Case(
        given=after("Crashed", count=2, job="before", asked={"jobs": (crashed(),)}),
        reason="CrashLoop",
        stalls=True,
        says="3 Jobs in a row have failed alike, the last with Crashed: it is wrong",
    ),
    "a crash of another kind begins to count anew": Case(
        given=after("Crashed", count=2, job="before", asked={"jobs": (crashed(outcome_message="something else"),)}),
        reason="Crashed",
        deletes=(job(RECIPE).name,),
    ),
    "a crash loop whose Job is deleted by a person gets one more try": Case(
        given=after("Crashed", count=3), reason=None
    ),
    "which is the last": Case(
        given=after("Crashed", count=3, job="before", asked={"jobs": (crashed(),)}), reason="CrashLoop", stalls=True
    ),
    "another trainer may not crash": Case(
        given=after("Crashed", count=3, image="trainer:1", asked={"trainer_image": "trainer:2", "jobs": (crashed(),)}),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
    ),
    "a registry that is away comes back some time": Case(
        given=after(
            "RegistryUnavailable",
            count=50,
            job="before",
            asked={"jobs": (crashed(outcome_reason="RegistryUnavailable", ended_time=JUST_NOW),)},
        ),
        reason="RegistryUnavailable",
        says="tried again after 12:59:50 UTC",
    ),
    "a version that is lost again and again is a crash loop, too": Case(
        given=after(
            "VersionMissing",
            count=2,
            job="before",
            message="its Job succeeded, but its version is not in the registry",
            asked={"jobs": (job(RECIPE, "Succeeded", ended_time=LONG_AGO),)},
        ),
        reason="CrashLoop",
        stalls=True,
    ),
    "a Job that a mesh keeps up goes once its failure is remembered": Case(
        given=after("BadDataset", asked={"jobs": (job(RECIPE, "Failed", outcome_reason="BadDataset", lingers=True),)}),
        reason="BadDataset",
        stalls=True,
        deletes=(job(RECIPE).name,),
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
    "a pod that the cluster's rules refuse is made anew when the platform team asks for something else": Case(
        given=seen(
            jobs=(job(RECIPE, no_pods=True, pod_settings=pod_settings_digest(adapter().spec)),),
            platform_asks={"userIds": {}},
        ),
        reason="PodSettingsChanged",
        deletes=(job(RECIPE).name,),
    ),
    "a training that runs is not disturbed by what the platform team asks for": Case(
        given=seen(
            jobs=(job(RECIPE, pod_settings=pod_settings_digest(adapter().spec)),), platform_asks={"userIds": {}}
        ),
        reason="Training",
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


def test_crashes_that_differ_in_numbers_only_are_alike() -> None:
    one, other = (
        remembered("Crashed", message=f"CUDA error at 0x7f{n}3a, step {n}, sha256 deadbeef{n}") for n in (1, 2)
    )
    assert are_alike(one, other)
    assert not are_alike(one, remembered("Crashed", message="KeyError: foo"))
    assert not are_alike(one, other.model_copy(update={"reason": "TrainingFailed"}))


def test_each_crash_rests_longer_than_the_one_before() -> None:
    rests = [rest_seconds(remembered("Crashed", count=count)) for count in (1, 2, 3, 4, 5, 5000)]
    assert rests == [300, 600, 1200, 2400, 3600, 3600]


def test_a_trainer_that_always_crashes_is_tried_three_times_in_all() -> None:
    """Each Job is another one, and every look between two of them finds what the one before has written."""
    subject, now, uids = adapter(), NOW, []
    for number in range(9):
        given = seen(subject, jobs=())
        assert decide_training(given, now) is None
        due = training_is_due(given, PLATFORM)
        uids.append(f"uid-{number}")
        kept = subject.status.model_copy(update={"failed_trainings": due.failed})
        subject = subject.model_copy(update={"status": kept})
        while True:
            message = f"ValueError: no such kernel ({number})"
            ended = job(
                RECIPE, "Failed", uid=uids[-1], outcome_reason="Crashed", outcome_message=message, ended_time=NOW
            )
            verdict = decide_training(seen(subject, jobs=(ended,)), now)
            assert verdict is not None
            status = subject.status.model_copy(update={"failed_trainings": verdict.failed})
            subject = subject.model_copy(update={"status": status})
            if verdict.stalled is not None:
                assert len(uids) == 3
                assert "ValueError: no such kernel (2)" in verdict.stalled.message
                return
            if verdict.actions:
                break
            now += timedelta(seconds=100)
    raise AssertionError("tried for ever")


def test_what_has_failed_is_kept_while_the_next_job_runs_and_forgotten_once_there_is_a_version() -> None:
    given = after("Crashed", asked={"jobs": (job(RECIPE, uid="next"),)})
    running = decide_training(given, NOW)
    assert running is not None
    assert (running.trained.reason, running.failed) == ("Training", given.adapter.status.failed_trainings)
    done = decide_training(replace(given, published=version(1, recipe=RECIPE)), NOW)
    assert done is not None
    assert done.failed is None


def test_a_changed_base_is_another_training() -> None:
    subject = after("BadDataset").adapter
    assert decide_training(seen(subject, base=base_model(resolved="B")), NOW) is None


FORGETFUL: dict[str, dict[str, Any]] = {
    "data that somebody has deleted": {"dataset_problem": "there is no ConfigMap rows", "recipe": None},
    "a base that is being resolved": {"base": base_model(resolved=None), "recipe": None},
    "a base that somebody has deleted": {"base": None, "recipe": None},
    "a registry that is away": {"unknown": Unknown(reason="RegistryUnavailable"), "recipe": digest("another")},
}


@pytest.mark.parametrize("asked", FORGETFUL.values(), ids=FORGETFUL)
def test_a_failure_is_not_forgotten_while_it_can_t_be_told_what_is_trained(asked: dict[str, Any]) -> None:
    given = after("BadDataset", asked=asked)
    verdict = decide_training(given, NOW)
    assert verdict is not None
    assert verdict.failed == given.adapter.status.failed_trainings
