"""Kueue is away for a while, and then for good: what waits for it says so, and goes on as soon as it can."""

from __future__ import annotations

import pytest
from demo.cluster import Object, condition
from tests.e2e.tenant import Tenant
from tests.kueue.queues import (
    NAMESPACE,
    POD,
    TOLD_SECONDS,
    TRAINER_CPU,
    UNSERVED,
    Kueue,
    assert_trained_once,
    queued,
    read_job,
)

pytestmark = [pytest.mark.kueue, pytest.mark.timeout(1200)]


def refused(adapter: Object) -> bool:
    told = [condition(adapter, kind) for kind in ("Trained", "Ready")]
    return all("failed calling webhook" in item.get("message", "") and "mjob.kb.io" in item["message"] for item in told)


@pytest.mark.parametrize("pod", [POD, {"resources": POD["resources"]}], ids=["in a queue", "in none"])
def test_while_its_webhook_is_away_no_job_is_made_and_the_adapter_says_why(
    tenant: Tenant, kueue: Kueue, pod: Object
) -> None:
    """The API server asks Kueue about every Job, in a queue or not."""
    name = "held" if pod == POD else "aside"
    with kueue.away(tenant):
        tenant.apply(tenant.adapter(name, pod=pod, serving=UNSERVED))
        told = tenant.wait_for_adapter(name, refused, "told that the webhook does not answer", TOLD_SECONDS)
        assert condition(told, "Stalled")["status"] == "False", "it passes by itself"
        assert tenant.training_jobs(name) == []
    tenant.wait_settled(name)
    [job] = tenant.training_jobs(name)
    assert_trained_once(tenant, name, read_job(tenant, job))


def test_a_training_whose_kueue_is_uninstalled_says_so_and_can_do_without(tenant: Tenant, kueue: Kueue) -> None:
    kueue.give(TRAINER_CPU, policy="Hold")
    tenant.apply(tenant.adapter("orphan", pod=POD, serving=UNSERVED))
    tenant.wait_for_adapter("orphan", queued("is inactive"), "queued", TOLD_SECONDS)
    [held] = tenant.training_jobs("orphan")

    tenant.cluster.run("helm", "uninstall", "kueue", "-n", NAMESPACE)
    kept = ("is being deleted and waits for Kueue to let it go", "take the Workload's finalizers away")
    tenant.wait_for_adapter("orphan", queued(*kept), "told that Kueue does not let go", TOLD_SECONDS)
    kueue.remove()
    gone = ("this cluster has no Kueue", "empty spec.pod.queueName")
    tenant.wait_for_adapter("orphan", queued(*gone), "told that there is no Kueue", TOLD_SECONDS)
    assert read_job(tenant, held)["spec"]["suspend"] is True, "only a person may say that it runs without its queue"

    tenant.apply(tenant.adapter("orphan", pod={"resources": POD["resources"]}, serving=UNSERVED))
    tenant.wait_settled("orphan")
    assert [manifest["number"] for manifest in tenant.versions("orphan")] == [1]
