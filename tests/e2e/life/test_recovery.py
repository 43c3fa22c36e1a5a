"""Operator and trainer die in the middle: the end is the same, and nothing is trained twice."""

from __future__ import annotations

import pytest
from demo import release
from demo.cluster import Object
from tests.e2e.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
STEPS = 200
LONGER = {"maxSteps": STEPS, "evalSteps": STEPS // 2, "checkpointSeconds": 1}
"""Longer than it takes the next operator to get the lease of one that was killed."""
UNSERVED = {"mode": "None"}


@pytest.fixture(scope="module", autouse=True)
def base(tenant: Tenant) -> None:
    """Resolve a base; what is tested here needs no engine."""
    tenant.apply(tenant.base())
    tenant.wait_resolved()


def kill_operator(tenant: Tenant) -> None:
    selector = "--selector=app.kubernetes.io/component=operator"
    tenant.cluster.kubectl("delete", "pod", "-n", release.NAMESPACE, selector, "--grace-period=0", "--force")


def is_training(adapter: Object) -> bool:
    return bool((adapter["status"].get("training") or {}).get("step", 0) > 0)


def assert_trained_once(tenant: Tenant, name: str) -> None:
    assert len(tenant.training_jobs(name)) == 1
    assert [manifest["number"] for manifest in tenant.versions(name)] == [1]


def test_operator_killed_before_and_during_training(tenant: Tenant) -> None:
    tenant.apply(tenant.adapter("patient", training=LONGER, serving=UNSERVED))
    kill_operator(tenant)
    training = tenant.wait_for_adapter("patient", is_training, "training")["status"]["training"]
    assert training["maxSteps"] == STEPS
    assert training["step"] < STEPS, "the training was over before the operator could be killed"
    kill_operator(tenant)
    tenant.wait_settled("patient")
    assert_trained_once(tenant, "patient")


def test_trainer_killed_during_training(tenant: Tenant) -> None:
    tenant.apply(tenant.adapter("stubborn", training=LONGER, serving=UNSERVED))
    tenant.wait_for_adapter("stubborn", is_training, "training")
    [pod] = [pod for pod in tenant.pods("training") if pod["metadata"]["name"].startswith("stubborn-")]
    tenant.cluster.delete("pod", pod["metadata"]["name"], tenant.namespace, "--grace-period=0", "--force")
    tenant.wait_settled("stubborn")
    assert_trained_once(tenant, "stubborn")
