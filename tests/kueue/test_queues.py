"""Trainings in the queues of a real Kueue: admitted, waiting, taken back and gone on with."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from demo.cluster import CommandFailedError, Object, condition
from tests.e2e.figures import Figures
from tests.e2e.tenant import ADAPTERS, Tenant
from tests.kueue.queues import (
    CLUSTER_QUEUE,
    HIGH,
    LOW,
    POD,
    QUEUE,
    TOLD_SECONDS,
    TRAINER_CPU,
    UNSERVED,
    Kueue,
    assert_trained_once,
    queued,
    read_job,
)

pytestmark = [pytest.mark.kueue, pytest.mark.timeout(1200)]
LONGER = {"maxSteps": 300, "evalSteps": 150, "checkpointSeconds": 1}
DEADLINE = 90
"""Seconds that a training may run, and that it waits for longer here."""


@pytest.fixture(autouse=True)
def enough(kueue: Kueue) -> Iterator[None]:
    """Give the quota back that a test has changed."""
    yield
    kueue.give(TRAINER_CPU)


def is_training(adapter: Object) -> bool:
    return bool((adapter["status"].get("training") or {}).get("step", 0) > 0)


def job_of(tenant: Tenant, adapter: str) -> Object:
    [name] = tenant.training_jobs(adapter)
    return read_job(tenant, name)


def end(tenant: Tenant, *adapters: str) -> None:
    """Delete adapters that are of no use any more, with their Jobs."""
    for name in adapters:
        tenant.cluster.delete(ADAPTERS, name, tenant.namespace)


def test_with_quota_a_training_is_admitted_and_the_next_one_waits_for_it(
    tenant: Tenant, kueue: Kueue, figures: Figures
) -> None:
    """The second waits for longer than it may run, while the queue is used up, and then while somebody has stopped it.

    What Kueue says of a queue that is stopped meanwhile may be what it said before.
    """
    tenant.apply(tenant.adapter("first", training=LONGER, pod=POD, serving=UNSERVED))
    tenant.wait_for_adapter("first", is_training, "training")
    begun = time.monotonic()
    tenant.apply(tenant.adapter("second", training={"deadlineSeconds": DEADLINE}, pod=POD, serving=UNSERVED))
    words = (f"LocalQueue {QUEUE}", "insufficient unused quota for cpu", "more needed")
    tenant.wait_for_adapter("second", queued(*words), "queued with Kueue's words", TOLD_SECONDS)
    figures.note("training queued by Kueue → its words on the adapter", time.monotonic() - begun, "s")
    job = job_of(tenant, "second")
    assert job["spec"]["suspend"] is True
    assert [pod for pod in tenant.pods("training") if pod["metadata"]["name"].startswith("second-")] == []

    kueue.give(TRAINER_CPU, policy="Hold")
    tenant.wait_settled("first")
    assert queued(f"LocalQueue {QUEUE}")(tenant.read("second"))
    assert condition(tenant.read("second"), "Stalled").get("status") == "False"
    time.sleep(max(0.0, begun + DEADLINE + 5 - time.monotonic()))

    kueue.give(TRAINER_CPU)
    tenant.wait_settled("second")
    assert_trained_once(tenant, "second", job)
    workload = kueue.workload(tenant, job["metadata"]["name"])["metadata"]["name"]
    ended = ("--for=condition=Finished", f"workload/{workload}", "--timeout=60s")
    tenant.cluster.kubectl("wait", "-n", tenant.namespace, *ended)


def test_a_queue_that_does_not_exist_is_named_and_waited_for(tenant: Tenant, kueue: Kueue) -> None:
    tenant.apply(tenant.adapter("lost", pod=POD | {"queueName": "nowhere"}, serving=UNSERVED))
    words = ("LocalQueue nowhere doesn't exist", "make the LocalQueue nowhere in this namespace", "spec.pod.queueName")
    tenant.wait_for_adapter("lost", queued(*words), "told that there is no such queue", TOLD_SECONDS)
    job = job_of(tenant, "lost")
    kueue.open(tenant, "nowhere")
    tenant.wait_settled("lost")
    assert_trained_once(tenant, "lost", job)


def test_a_namespace_may_put_every_job_into_a_queue(tenant: Tenant, kueue: Kueue) -> None:
    """Kueue gives a Job without a queue that of the name default, and holds it, though we have asked for none."""
    kueue.give(TRAINER_CPU, policy="Hold")
    kueue.open(tenant, "default")
    try:
        resources = {"resources": POD["resources"]}
        tenant.apply(tenant.adapter("unasked", pod=resources, serving=UNSERVED))
        words = ("LocalQueue default", f"ClusterQueue {CLUSTER_QUEUE} is inactive")
        tenant.wait_for_adapter("unasked", queued(*words), "queued by default", TOLD_SECONDS)
        tenant.apply(tenant.base("base-v2"))
        tenant.wait_for_base(
            lambda base: "ClusterQueue" in condition(base, "Resolved").get("message", ""), "queued, too", TOLD_SECONDS
        )
        assert condition(tenant.read("unasked"), "Trained")["reason"] == "Queued"
    finally:
        end(tenant, "unasked")
        tenant.cluster.delete("localqueue", "default", tenant.namespace)
        tenant.apply(tenant.base())
        tenant.wait_resolved()


def test_a_training_of_higher_priority_takes_the_quota_and_gives_it_back(
    tenant: Tenant, kueue: Kueue, figures: Figures
) -> None:
    tenant.apply(tenant.adapter("low", training=LONGER, pod=POD | {"workloadPriorityClassName": LOW}, serving=UNSERVED))
    tenant.wait_for_adapter("low", is_training, "training")
    job = job_of(tenant, "low")
    tenant.apply(tenant.adapter("high", pod=POD | {"workloadPriorityClassName": HIGH}, serving=UNSERVED))
    begun = time.monotonic()
    taken = tenant.wait_for_adapter("low", queued("Preempted to accommodate"), "told that it gave way", TOLD_SECONDS)
    figures.note("higher priority applied → preemption told", time.monotonic() - begun, "s")
    assert taken["status"].get("failedTrainings") is None
    tenant.wait_settled("high")

    stored = [key for key in tenant.stored("low") if key.endswith("manifest.json")]
    assert [key for key in stored if "/checkpoints/" in key], f"the trainer has left no checkpoint: {stored}"
    assert [key for key in stored if "/versions/" in key] == [], "it was over before it could be preempted"
    follow = resumed_log(tenant, job["metadata"]["name"])
    assert "resuming from" in follow, follow[-2000:]
    tenant.wait_settled("low")
    assert_trained_once(tenant, "low", job)
    [manifest] = tenant.versions("low")
    assert manifest["metrics"]["steps"] == LONGER["maxSteps"]


def resumed_log(tenant: Tenant, job: str) -> str:
    """Return the log of the Job's next pod up to the point where it says that it goes on, or where time is up."""
    deadline, log = time.monotonic() + 300, ""
    while time.monotonic() < deadline and "resuming from" not in log:
        time.sleep(1)
        try:
            log = tenant.cluster.kubectl("logs", "-n", tenant.namespace, f"job/{job}", "-c", "trainer")
        except CommandFailedError as error:  # there is no pod yet, or it has not begun
            log = str(error)
    return log


def test_several_workers_are_admitted_together_or_not_at_all(tenant: Tenant, kueue: Kueue) -> None:
    pod = POD | {"workers": {"nodes": 2}, "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}}}
    tenant.apply(tenant.adapter("pair", pod=pod, serving=UNSERVED))
    words = ("insufficient quota for cpu", "> maximum capacity", "lower spec.pod.resources")
    tenant.wait_for_adapter("pair", queued(*words), "told that two don't fit", TOLD_SECONDS)
    job = job_of(tenant, "pair")
    assert [item for item in tenant.pods("training") if item["metadata"]["name"].startswith("pair-")] == []
    kueue.give(500)
    tenant.wait_settled("pair")
    assert_trained_once(tenant, "pair", job)
    [manifest] = tenant.versions("pair")
    assert manifest["metrics"]["steps"] == 30
