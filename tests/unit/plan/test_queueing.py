"""What is said of a Job that is held: Kueue's own words, what helps, and that there is no Kueue at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, job, recipe_of, seen

from graft_operator.api.base_source import BaseSource
from graft_operator.plan.base.importing import running
from graft_operator.plan.events import TROUBLES
from graft_operator.plan.jobs import JobObserved, Queueing
from graft_operator.plan.pod_hints import PREPARATION
from graft_operator.plan.queueing import FIRST_WORKLOAD, why_held
from graft_operator.plan.training.retry_policy import deadline_is_exceeded, training_has_failed

RECIPE = recipe_of(adapter())
OLD = NOW - timedelta(hours=30)


def held(says: str = "", **fields: Any) -> JobObserved:
    defaults: dict[str, Any] = {"queue": "gpus", "kueue": "Served", "workload": "job-support-1f"}
    queueing = Queueing(**defaults | {"says": says} | fields)
    return job(RECIPE, suspended=True, created_time=OLD, queueing=queueing)


WORDS: dict[str, tuple[str, str]] = {
    "the quota is used up": (
        "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, 1 more"
        " needed",
        "1 more needed",
    ),
    "it asks for more than there is": (
        "couldn't assign flavors to pod set main: insufficient quota for cpu in flavor default, previously considered"
        " podsets requests (0) + current podset request (64) > maximum capacity (8)",
        "the queue never has so much: lower spec.pod.resources, have its quota raised, or name another one in"
        " spec.pod.queueName",
    ),
    "there is no such queue": (
        "LocalQueue gpus doesn't exist",
        "make the LocalQueue gpus in this namespace, or name another one in spec.pod.queueName",
    ),
    "the queue is stopped": ("LocalQueue gpus is inactive", "has stopped LocalQueue gpus, or what it needs is missing"),
    "what is behind the queue is not there": ("ClusterQueue team-a doesn't exist", "belongs to ClusterQueue team-a"),
    "what is behind the queue is stopped": ("ClusterQueue team-a is inactive", "has stopped ClusterQueue team-a"),
    "the queue has none of a resource": (
        "couldn't assign flavors to pod set main: resource nvidia.com/gpu unavailable in ClusterQueue",
        "the queue has no quota of nvidia.com/gpu at all",
    ),
    "the queue is for other namespaces": (
        "Workload namespace doesn't match ClusterQueue selector",
        "the queue is not for this namespace",
    ),
    "somebody has deactivated it": ("The workload is deactivated", "set spec.active of its Workload to true"),
    "it can't be started": (
        "its Workload job-support-1f is finished: conflict for key x",
        "once that is mended, delete the Job",
    ),
    "it was taken back": (
        "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to prioritization in the ClusterQueue",
        "due to prioritization in the ClusterQueue",
    ),
}


@pytest.mark.parametrize(("says", "helps"), WORDS.values(), ids=WORDS)
def test_kueues_own_words_are_told_with_what_helps(says: str, helps: str) -> None:
    told = why_held(held(says), NOW)
    assert told.startswith(f"waits until LocalQueue gpus admits it: {says}")
    assert told.endswith(helps) or helps in told


@pytest.mark.parametrize("says", [says for says, helps in WORDS.values() if "spec.pod.queueName" in helps])
def test_an_import_names_no_queue(says: str) -> None:
    fact = running(held(says), NOW, BaseSource.model_validate({"s3": {"uri": "s3://models/tiny/"}}))
    assert fact.reason == "Queued"
    assert says in fact.message
    assert "queueName" not in fact.message
    assert "resolving" not in fact.message


ABSENT: dict[str, tuple[dict[str, Any], str]] = {
    "Kueue is not installed": ({"kueue": "Missing", "workload": ""}, "has no Kueue: install Kueue, or empty spec.pod"),
    "its Workloads may not be read": ({"kueue": "Forbidden", "workload": ""}, "set rbac.workloads of Graft's chart"),
    "its Workloads can't be read": ({"kueue": "TooLarge", "workload": ""}, "some Workload of the cluster is too large"),
    "it is about to run": ({"is_admitted": True}, "is admitted by LocalQueue gpus, and Kueue is about to let it run"),
    "Kueue takes no notice": ({"workload": ""}, "see that its controller runs"),
    "Kueue has gone while it held the Workload": ({"is_kept": True}, "take the Workload's finalizers away"),
}


@pytest.mark.parametrize(("queueing", "says"), ABSENT.values(), ids=ABSENT)
def test_what_is_said_where_kueue_says_nothing(queueing: dict[str, Any], says: str) -> None:
    assert says in why_held(held(**queueing), NOW)


@pytest.mark.parametrize(
    ("kueue", "age"), [("Served", FIRST_WORKLOAD - timedelta(seconds=1)), ("Unknown", timedelta(days=1))]
)
def test_before_it_could_be_known_nothing_is_blamed(kueue: str, age: timedelta) -> None:
    queueing = Queueing(queue="gpus", kueue=kueue)  # type: ignore[arg-type]
    young = job(RECIPE, suspended=True, created_time=NOW - age, queueing=queueing)
    assert why_held(young, NOW) == "waits until LocalQueue gpus admits it"


def test_a_job_in_no_queue_is_held_by_somebody_else() -> None:
    assert why_held(job(RECIPE, suspended=True), NOW) == "is suspended by somebody else"
    assert "name one in spec.preparation.queueName" in why_held(job(RECIPE, suspended=True), NOW, PREPARATION)


def test_days_in_a_queue_are_no_failure_and_do_not_count_for_the_deadline() -> None:
    subject = adapter(training={"deadlineSeconds": 60}, pod={"queueName": "gpus"})
    waiting = seen(subject, jobs=(held("LocalQueue gpus doesn't exist"),))
    assert deadline_is_exceeded(waiting, NOW) is None
    assert training_has_failed(waiting, NOW) is None
    assert "Queued" not in TROUBLES
