"""Two pods train one adapter together, once the queue lets them; the test plays the part of Kueue."""

from __future__ import annotations

import json
import time

import pytest
from demo.cluster import Object, condition
from tests.e2e.figures import Figures
from tests.e2e.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
QUEUE = "gpus"
NODES = 2
TRAINING = {"maxSteps": 30, "batchSize": 8, "gradientAccumulation": 1}
POD = {
    "queueName": QUEUE,
    "workers": {"nodes": NODES},
    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
}


def test_two_pods_wait_for_their_queue_and_train_together(tenant: Tenant, figures: Figures) -> None:
    tenant.apply(tenant.base())
    tenant.wait_resolved()
    tenant.apply(tenant.adapter("pair", training=TRAINING, pod=POD, serving={"mode": "None"}))

    adapter = tenant.wait_for_adapter("pair", is_queued, "queued", 60)
    assert f"LocalQueue {QUEUE}" in condition(adapter, "Trained")["message"]
    assert adapter["status"]["training"]["workers"] == NODES
    [name] = tenant.training_jobs("pair")
    job = read_job(tenant, name)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == QUEUE
    assert (job["spec"]["suspend"], job["spec"]["parallelism"], job["spec"]["completionMode"]) == (True, 2, "Indexed")
    assert tenant.pods("training") == []

    admitted = time.monotonic()
    admit(tenant, name)
    tenant.wait_settled("pair")
    figures.note("training of two pods admitted → version published", time.monotonic() - admitted, "s")
    tenant.cluster.kubectl("wait", "-n", tenant.namespace, "--for=condition=complete", f"job/{name}", "--timeout=60s")
    assert_every_pod_trained_once(tenant)
    ended = read_job(tenant, name)
    assert (ended["metadata"]["uid"], ended["spec"]["suspend"]) == (job["metadata"]["uid"], False)

    [manifest] = tenant.versions("pair")
    assert_both_had_rows_of_their_own(manifest)


def is_queued(adapter: Object) -> bool:
    return bool(condition(adapter, "Trained").get("reason") == "Queued")


def admit(tenant: Tenant, job: str) -> None:
    """Let the Job run, as Kueue does when there is room for it."""
    patch = json.dumps({"spec": {"suspend": False}})
    tenant.cluster.kubectl("patch", "job", job, "-n", tenant.namespace, "--type=merge", "-p", patch)


def read_job(tenant: Tenant, name: str) -> Object:
    job = tenant.cluster.get("job", name, tenant.namespace)
    assert job is not None, f"Job {name} is gone"
    return job


def assert_every_pod_trained_once(tenant: Tenant) -> None:
    """A pod that lost its worker, or never found the first one, would have been made again."""
    pods = tenant.pods("training")
    ended = sorted(
        (pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], pod["status"]["phase"])
        for pod in pods
    )
    assert ended == [(str(index), "Succeeded") for index in range(NODES)]


def assert_both_had_rows_of_their_own(manifest: Object) -> None:
    metrics, rows = manifest["metrics"], manifest["dataset"]["rows"]
    assert metrics["steps"] == TRAINING["maxSteps"]
    rows_a_step = NODES * TRAINING["batchSize"]
    assert metrics["epochs"] == pytest.approx(metrics["steps"] * rows_a_step / rows, rel=0.1)
