"""Trainings whose pods the kubelet ends again and again: it is told, remembered, and not tried for ever."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import NOW, PLATFORM, adapter, job, recipe_of, seen

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.actions import CreateJob, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.jobs import JobObserved

FULL = 'Usage of EmptyDir volume "work" exceeds the limit "10Gi".'


def planned(subject: LoraAdapter, *jobs: JobObserved) -> Plan:
    return plan_adapter(seen(subject, jobs=jobs, recipe=recipe_of(subject)), NOW, PLATFORM)


def after(subject: LoraAdapter, plan: Plan) -> LoraAdapter:
    return subject.model_copy(update={"status": plan.status})


def told(plan: Plan, condition: str) -> tuple[str, str, str]:
    assert plan.status is not None
    found = next(item for item in plan.status.conditions if item.type == condition)
    return found.status, found.reason, found.message


def ended(subject: LoraAdapter, reason: str, **fields: Any) -> JobObserved:
    """Return a Job that its controller would go on with."""
    said = {"outcome_reason": reason, "outcome_message": FULL, "lingers": True, "pods_running": True}
    return job(recipe_of(subject), "Failed", **said | fields)


@pytest.mark.parametrize("reason", ["Evicted", "DeadlineExceeded"])
def test_its_job_goes_once_that_is_remembered_and_none_is_made_anew(reason: str) -> None:
    subject = adapter()
    failed = ended(subject, reason)
    first = planned(subject, failed)
    assert told(first, "Stalled")[:2] == ("True", reason)
    assert FULL in told(first, "Trained")[2]
    assert (first.actions, first.extras, first.requeue_after) == ((), (), 0)
    subject = after(subject, first)
    assert planned(subject, failed).actions == (DeleteObject("Job", failed.name, failed.uid),)
    without = planned(subject)
    assert told(without, "Stalled")[:2] == ("True", reason)
    assert without.extras == ()


def test_the_field_is_named_and_another_limit_tries_again() -> None:
    before = adapter(pod={"resources": {"limits": {"ephemeral-storage": "1Gi"}}})
    plan = planned(before, ended(before, "Evicted"))
    assert told(plan, "Trained")[2].startswith("spec.pod.resources.limits: ")
    raised = after(adapter(pod={"resources": {"limits": {"ephemeral-storage": "9Gi"}}}), plan)
    assert [type(action) for action in planned(raised).extras] == [CreateJob]


def test_a_preparation_names_its_own_field() -> None:
    subject = adapter(preparation={"mode": "Always"})
    plan = planned(subject, ended(subject, "Evicted", prepares=True))
    assert told(plan, "Trained")[2].startswith("spec.preparation.resources.limits: ")
