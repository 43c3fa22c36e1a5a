"""Workloads as Kueue writes them, and what is read of them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import NAMESPACE

from graft_operator.cluster import Cache
from graft_operator.cluster.resources import WORKLOADS
from graft_operator.plan.jobs import Queueing
from graft_operator.reconcilers.snapshots.containers import MESSAGE_LIMIT
from graft_operator.reconcilers.snapshots.jobs import occupied_name
from graft_operator.reconcilers.snapshots.workloads import queueing_of, said_of

JOB: dict[str, Any] = {
    "metadata": {
        "name": "support-train-1",
        "namespace": NAMESPACE,
        "uid": "uid-of-job",
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
        "ownerReferences": [{"kind": "LoraAdapter", "name": "support", "uid": "uid", "controller": True}],
    }
}
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "support-train-1", "uid": "uid-of-job", "controller": True}


def condition(kind: str, status: str, message: str, reason: str = "Pending") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def workload(
    *conditions: dict[str, Any], created: str = "1", name: str = "job-support-train-1-5d1f6", **more: Any
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "resourceVersion": "7",
        "creationTimestamp": created,
        "finalizers": ["kueue.x-k8s.io/resource-in-use"],
        "ownerReferences": [OWNER],
    }
    status = {"conditions": list(conditions), **more.pop("status", {})}
    return {"metadata": metadata | more.pop("metadata", {}), "spec": {"queueName": "gpus", **more}, "status": status}


NO_QUOTA = condition("QuotaReserved", "False", "couldn't assign flavors to pod set main: insufficient unused quota")
NO_QUEUE = condition("QuotaReserved", "False", "LocalQueue gpus doesn't exist", "Inadmissible")
RESERVED = condition("QuotaReserved", "True", "Quota reserved in ClusterQueue team-a", "QuotaReserved")
ADMITTED = condition("Admitted", "True", "The workload is admitted", "Admitted")
PREEMPTED = condition("Evicted", "True", "Preempted to accommodate a workload (UID: 2)", "Preempted")
WAS_EVICTED = condition("Evicted", "False", "Previously: Preempted to accommodate a workload", "QuotaReserved")

FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "it was just made": (workload(), ""),
    "there is no quota": (workload(NO_QUOTA), NO_QUOTA["message"]),
    "there is no such queue": (workload(NO_QUEUE), "LocalQueue gpus doesn't exist"),
    "its pods are being stopped for another": (workload(RESERVED, ADMITTED, PREEMPTED), PREEMPTED["message"]),
    "it was stopped for another and waits": (
        workload(NO_QUOTA, PREEMPTED),
        f"{NO_QUOTA['message']} (evicted before: {PREEMPTED['message']})",
    ),
    "it was stopped and has not been tried since": (
        workload(PREEMPTED | {"type": "QuotaReserved", "status": "False"}, PREEMPTED),
        PREEMPTED["message"],
    ),
    "it was evicted before and is admitted again": (
        workload(RESERVED, ADMITTED, WAS_EVICTED),
        "",
    ),
    "an admission check has not answered": (
        workload(RESERVED, status={"admissionChecks": [{"name": "budget", "state": "Pending", "message": ""}]}),
        "admission check budget is Pending",
    ),
    "an admission check waits for nodes": (
        workload(
            RESERVED,
            status={
                "admissionChecks": [
                    {"name": "budget", "state": "Ready", "message": "ok"},
                    {"name": "dws", "state": "Pending", "message": "Provisioning Request wl-dws-1 is waiting"},
                ]
            },
        ),
        "admission check dws is Pending: Provisioning Request wl-dws-1 is waiting",
    ),
    "somebody has deactivated it": (
        workload(NO_QUOTA, condition("Evicted", "True", "The workload is deactivated", "Deactivated"), active=False),
        "The workload is deactivated",
    ),
    "it is deactivated and was never evicted": (workload(NO_QUOTA, active=False), "The workload is deactivated"),
    "it can't be started": (
        workload(
            condition("Finished", "True", "conflict for key x: invalid admission check PodSetUpdate", "FailedToStart")
        ),
        "its Workload job-support-train-1-5d1f6 is finished: conflict for key x: invalid admission check PodSetUpdate",
    ),
    "of the version before, with a condition of its own": (
        workload(NO_QUOTA, condition("Requeued", "False", "Exceeded the PodsReady timeout", "PodsReadyTimeout")),
        NO_QUOTA["message"],
    ),
    "it says things that are no text": (workload({"type": "QuotaReserved", "status": "False", "message": 7}), ""),
    "it says more than a status should hold": (
        workload(condition("QuotaReserved", "False", "x" * 9999)),
        "x" * MESSAGE_LIMIT,
    ),
}


@pytest.mark.parametrize(("body", "says"), FORMS.values(), ids=FORMS)
def test_what_kueue_says(body: dict[str, Any], says: str) -> None:
    assert said_of(body) == says


def cache_with(*workloads: dict[str, Any]) -> Cache:
    cache = Cache()
    for body in workloads:
        cache.put(WORKLOADS, body)
    cache.replace(WORKLOADS, None, [(NAMESPACE, body["metadata"]["name"]) for body in workloads], 9)
    return cache


def test_a_job_is_known_by_its_workload() -> None:
    found = queueing_of(JOB, cache_with(workload(NO_QUEUE), workload(name="other", metadata={"ownerReferences": []})))
    assert found == Queueing(
        queue="gpus", kueue="Served", workload="job-support-train-1-5d1f6", says="LocalQueue gpus doesn't exist"
    )


def test_a_workload_of_another_namespace_says_nothing_of_a_job() -> None:
    forged = workload(NO_QUEUE, created="9", name="forged", metadata={"namespace": "attacker"})
    found = queueing_of(JOB, cache_with(workload(NO_QUOTA), forged))
    assert found is not None
    assert (found.workload, found.says) == ("job-support-train-1-5d1f6", NO_QUOTA["message"])


@pytest.mark.parametrize(
    ("more", "admitted"),
    [((), True), ((WAS_EVICTED,), True), ((PREEMPTED,), False)],
    ids=["at first", "again", "taken"],
)
def test_a_job_that_is_admitted_is_about_to_run(more: tuple[dict[str, Any], ...], admitted: bool) -> None:
    found = queueing_of(JOB, cache_with(workload(RESERVED, ADMITTED, *more)))
    assert found is not None
    assert found.is_admitted is admitted


def test_of_two_workloads_the_newer_one_counts() -> None:
    found = queueing_of(JOB, cache_with(workload(NO_QUEUE, created="1"), workload(NO_QUOTA, created="2", name="a")))
    assert found is not None
    assert found.says == NO_QUOTA["message"]


PROBLEMS = {
    "its kind is not installed": ("GET workloads: 404 page not found (404)", "Missing"),
    "it may not be read": ("GET workloads: workloads.kueue.x-k8s.io is forbidden (403)", "Forbidden"),
    "the API server is away": ("GET workloads: no answer (503)", "Unknown"),
    "nothing has been asked yet": ("", "Unknown"),
}


@pytest.mark.parametrize(("problem", "kueue"), PROBLEMS.values(), ids=PROBLEMS)
def test_whether_there_is_a_kueue(problem: str, kueue: str) -> None:
    cache = Cache()
    if problem:
        cache.fail(WORKLOADS, None, problem, is_closed=True)
    assert queueing_of(JOB, cache) == Queueing(queue="gpus", kueue=kueue)  # type: ignore[arg-type]


def test_what_was_heard_before_kueue_went_is_not_told_any_more() -> None:
    cache = cache_with(workload(NO_QUOTA))
    cache.fail(WORKLOADS, None, "GET workloads: no answer (503)")
    held = queueing_of(JOB, cache)
    assert held is not None
    assert held.says == NO_QUOTA["message"], "a server that is away for a moment takes nothing back"
    cache.fail(WORKLOADS, None, "GET workloads: 404 page not found (404)", is_closed=True)
    assert queueing_of(JOB, cache) == Queueing(queue="gpus", kueue="Missing")


@pytest.mark.parametrize("labels", [None, {}, {"app": "x"}, {"kueue.x-k8s.io/queue-name": ""}])
def test_a_job_without_a_queue_is_not_kueues(labels: dict[str, str] | None) -> None:
    body = {"metadata": JOB["metadata"] | {"labels": labels}}
    assert queueing_of(body, cache_with(workload(NO_QUOTA))) is None


def test_a_job_whose_workload_is_not_let_go_says_so() -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    job = {"metadata": JOB["metadata"] | going | {"finalizers": ["foregroundDeletion"]}}
    kept = queueing_of(job, cache_with(workload(NO_QUOTA, metadata=going)))
    taken = occupied_name(job, "uid", kept)
    assert taken is not None
    assert taken.ending
    assert "Workload job-support-train-1-5d1f6 is being deleted and waits for Kueue" in taken.message
