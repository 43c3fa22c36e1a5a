"""Preparations that nobody asked for by name and that get nowhere: the training goes on without them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, PLATFORM, adapter, digest, job, recipe_of, seen

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import labels, naming
from graft_operator.plan.actions import CreateJob, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.events import status_events
from graft_operator.plan.jobs import JobObserved, Queueing
from graft_operator.plan.training.retry_policy import failures_with

GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
LONG = NOW - timedelta(minutes=10)
JUST_NOW = NOW - timedelta(minutes=9, seconds=59)
TAINT = "Unschedulable: 0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}."
QUOTA = "FailedCreate: pods is forbidden: failed quota: small: must specify limits.cpu for: trainer"


def prepares(subject: LoraAdapter, state: str = "Active", **fields: Any) -> JobObserved:
    recipe = recipe_of(subject)
    name = naming.preparation_job_name("support", recipe)
    own = {"name": name, "uid": f"uid-of-{name}", "prepares": True, "created_time": LONG, "idle_since": LONG}
    return job(recipe, state, **own | fields)


def planned(subject: LoraAdapter, *jobs: JobObserved, **fields: Any) -> Plan:
    return plan_adapter(seen(subject, jobs=jobs, **{"recipe": recipe_of(subject)} | fields), NOW, PLATFORM)


def after(subject: LoraAdapter, plan: Plan) -> LoraAdapter:
    """Return the adapter with the status that the plan has written: all that a restart leaves."""
    return subject.model_copy(update={"status": plan.status})


def created(plan: Plan) -> list[str]:
    made = [action.manifest for action in plan.extras if isinstance(action, CreateJob)]
    return [manifest["metadata"]["labels"][labels.COMPONENT] for manifest in made]


def deleted(plan: Plan) -> list[str]:
    return [action.name for action in plan.actions if isinstance(action, DeleteObject)]


def told(plan: Plan, condition: str = "Trained") -> tuple[str, str]:
    assert plan.status is not None
    return next((item.reason, item.message) for item in plan.status.conditions if item.type == condition)


NOWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "no node takes it": ({"waiting": TAINT}, "untolerated taint"),
    "no image": ({"waiting": "ErrImagePull: no match for platform in manifest"}, "no match for platform"),
    "a quota refuses its pods": ({"no_pods": True, "event": QUOTA}, "must specify limits.cpu"),
    "no pod, and nobody says why": ({"no_pods": True}, "no pod of it has been created"),
    "held by somebody": ({"suspended": True}, "name one in spec.preparation.queueName"),
    "held in a queue that nobody named": (
        {"suspended": True, "queueing": Queueing(queue="default", kueue="Served", says="no quota of cpu")},
        "LocalQueue default",
    ),
    "it ran too long": ({"ran": ((NOW - timedelta(days=30), None),), "pods_running": True}, "deadlineSeconds"),
    "it crashed": ({"state": "Failed", "outcome_reason": "Crashed", "outcome_message": "segfault"}, "segfault"),
    "without a word": ({"state": "Failed", "failure_reason": "BackoffLimitExceeded"}, "BackoffLimitExceeded"),
    "the Job's own deadline": ({"state": "Failed", "failure_reason": "DeadlineExceeded"}, "deadlineSeconds"),
    "a LimitRange's memory": (
        {"state": "Failed", "outcome_reason": "OutOfMemory", "outcome_message": "its limit of 512Mi"},
        "its limit of 512Mi",
    ),
}


@pytest.mark.parametrize(("fields", "says"), NOWHERE.values(), ids=NOWHERE)
def test_the_training_goes_on_without_it(fields: dict[str, Any], says: str) -> None:
    subject = adapter(pod=GPU)
    stuck = prepares(subject, **{"ended_time": NOW, **fields})
    plan = planned(subject, stuck)
    assert told(plan)[0] == told(plan, "Reconciling")[0] == "PreparationGivenUp"
    assert says in told(plan)[1]
    assert (deleted(plan), created(plan), plan.requeue_after) == ([], [], 0), "it is remembered first"
    assert plan.status is not None
    assert [event.reason for event in status_events(subject.status, plan.status)][-1] == "PreparationGivenUp"
    remembers = after(subject, plan)
    goes_on = planned(remembers, stuck)
    assert (deleted(goes_on), created(goes_on)) == ([stuck.name], ["training"])
    later = after(remembers, goes_on)
    assert created(planned(later)) == ["training"], "it is not prepared again, and nothing has failed"
    assert told(planned(later, job(recipe_of(later))))[0] == "Training"


WAITED_FOR: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "for less than ten minutes": ({}, {"waiting": TAINT, "idle_since": JUST_NOW}),
    "it runs": ({}, {"pods_running": True}),
    "a node that is on its way": ({}, {"waiting": "WaitingForNode: pod triggered scale-up"}),
    "its turn in the queue that is named": ({"queueName": "cpus"}, {"suspended": True}),
    "asked for by name": ({"mode": "Always"}, {"waiting": TAINT}),
}


@pytest.mark.parametrize(("preparation", "fields"), WAITED_FOR.values(), ids=WAITED_FOR)
def test_what_may_come_is_waited_for(preparation: dict[str, Any], fields: dict[str, Any]) -> None:
    subject = adapter(pod=GPU, preparation=preparation)
    plan = planned(subject, prepares(subject, **fields))
    assert (told(plan)[0] != "PreparationGivenUp", deleted(plan), created(plan)) == (True, [], [])
    assert getattr(plan.status, "skipped_preparation") is None  # noqa: B009 -- of either kind of status


@pytest.mark.parametrize("reason", ["BadDataset", "InvalidConfig", "BaseMismatch", "RegistryUnavailable"])
def test_what_the_training_would_meet_as_well_is_no_reason(reason: str) -> None:
    subject = adapter(pod=GPU)
    failed = prepares(subject, "Failed", ended_time=NOW, outcome_reason=reason, outcome_message="so it is")
    plan = planned(subject, failed)
    assert (told(plan)[0], created(plan)) == (reason, [])


def test_another_place_for_it_is_tried_first() -> None:
    subject = adapter(pod=GPU, preparation={"nodeSelector": {"pool": "cpu"}})
    plan = planned(subject, prepares(subject, waiting=TAINT, pod_settings=digest("before")))
    assert told(plan)[0] == "PodSettingsChanged"


def test_another_recipe_has_its_rows_prepared() -> None:
    before = adapter(pod=GPU)
    status = planned(before, prepares(before, waiting=TAINT)).status
    other = adapter(pod=GPU, lora={"rank": 4}).model_copy(update={"status": status})
    plan = planned(other)
    assert created(plan) == ["preparation"]
    assert getattr(plan.status, "skipped_preparation") is None  # noqa: B009


def test_one_that_was_given_up_is_made_where_it_is_asked_for_by_name() -> None:
    before = adapter(pod=GPU)
    status = planned(before, prepares(before, waiting=TAINT)).status
    always = adapter(pod=GPU, preparation={"mode": "Always"}).model_copy(update={"status": status})
    assert created(planned(always)) == ["preparation"]


def test_what_has_failed_of_it_is_no_failure_of_the_training() -> None:
    """An earlier release has counted, or stalled on, what is given up now."""
    subject = adapter(pod=GPU)
    failed = prepares(subject, "Failed", ended_time=NOW, outcome_reason="OutOfMemory", outcome_message="512Mi")
    known = failures_with(seen(subject, recipe=failed.recipe), failed, "OutOfMemory", "512Mi")
    status = subject.status.model_copy(update={"failed_trainings": known})
    subject = subject.model_copy(update={"status": status})
    subject = after(subject, planned(subject, failed))
    assert created(planned(subject, failed)) == ["training"]
    assert created(planned(subject)) == ["training"]
