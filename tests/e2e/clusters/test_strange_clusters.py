"""A cluster with rules of its own: it gives user ids itself, a quota wants limits, a mesh's container never ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from demo import release
from demo.client import Client
from demo.cluster import Cluster, Object, condition
from demo.environment import Environment
from demo.goals import serves_only_current
from tests.e2e.clusters.admission import FIRST_ID, NEIGHBOUR, ClusterRules
from tests.e2e.serving import ENGINE_SECONDS
from tests.e2e.tenant import BASE, SOURCES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
ENGINE = {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
TRAINER = {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}}
OPENSHIFT = {
    "podSecurity": {"userIds": "Platform"},
    "tenantPods": {
        "labels": {"cost-centre": "42"},
        # Not there: a kubelet goes on without it.
        "imagePullSecrets": [{"name": "pull"}],
        "env": {"EXAMPLE": "of the platform"},
    },
    # Every namespace has this one.
    "caBundle": {"configMap": "kube-root-ca.crt", "key": "ca.crt"},
}
TOLD_SECONDS = 90.0


@pytest.fixture(scope="module")
def client(tenant: Tenant) -> Client:
    """Return the pod that asks, made before the rules hold that it does not keep."""
    return tenant.client()


@pytest.fixture(scope="module", autouse=True)
def rules(tenant: Tenant, cluster: Cluster, environment: Environment, client: Client) -> Iterator[None]:
    """Have the cluster's rules hold in the tenant's namespace."""
    held = ClusterRules(cluster=cluster, namespace=tenant.namespace, image=environment.images["agent"])
    held.begin()
    time.sleep(3)  # for a policy to be known to the API server
    yield
    held.end()
    release.install(cluster, environment)


def told(thing: Object, kind: str, part: str) -> bool:
    """Whether a condition's message has a part."""
    conditions = thing.get("status", {}).get("conditions", [])
    return any(entry["type"] == kind and part in entry["message"] for entry in conditions)


def test_ids_that_the_cluster_refuses_are_told_with_the_value_that_helps(tenant: Tenant) -> None:
    tenant.apply(tenant.base(replicas=1, resources=ENGINE))
    base = tenant.wait_for_base(lambda seen: told(seen, "Resolved", "podSecurity.userIds"), "told", TOLD_SECONDS)
    assert condition(base, "Resolved")["reason"] == "PodsRefused"


def test_with_ids_from_the_cluster_the_same_import_goes_on(
    tenant: Tenant, cluster: Cluster, environment: Environment
) -> None:
    release.install(cluster, environment, **OPENSHIFT)
    tenant.wait_resolved()


def test_a_training_is_served_beside_containers_that_never_end(tenant: Tenant, client: Client) -> None:
    tenant.apply(tenant.adapter("topic", pod=TRAINER))
    tenant.wait_for_base(serves_only_current, "served", ENGINE_SECONDS)
    tenant.wait_settled("topic")
    asked = {"topic": ["a large striped cat"]}
    [answer] = client.ask(f"http://graft-{BASE}.{tenant.namespace}.svc:8000", asked)["topic"]
    assert (answer.status, answer.version) == (200, "topic@v1"), answer


def test_pods_have_what_cluster_and_chart_ask_for(tenant: Tenant) -> None:
    [pod] = tenant.pods("serving")
    spec = pod["spec"]
    assert spec["securityContext"]["runAsUser"] == FIRST_ID
    assert pod["metadata"]["labels"]["cost-centre"] == "42"
    assert {"name": "pull"} in spec["imagePullSecrets"]
    for container in (*spec["initContainers"], *spec["containers"]):
        found = {item["name"]: item.get("value") for item in container["env"]}
        assert (found["EXAMPLE"], found["AWS_CA_BUNDLE"]) == ("of the platform", "/etc/graft/ca/ca.crt")


def test_nothing_of_a_job_runs_on_once_its_own_container_has_ended(tenant: Tenant) -> None:
    begun = time.monotonic()
    while running := [pod for component in ("training", "import") for pod in tenant.pods(component) if is_up(pod)]:
        names = [pod["metadata"]["name"] for pod in running]
        assert time.monotonic() - begun < TOLD_SECONDS, f"{names} run on for {NEIGHBOUR}"
        time.sleep(1)


def is_up(pod: Object) -> bool:
    """Whether a pod has not ended."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def test_bad_data_stall_beside_a_container_that_never_ends(tenant: Tenant) -> None:
    key = f"{SOURCES}/nothing-in-it.jsonl"
    tenant.bucket.put(key, b"{not json\n")
    dataset = {"s3": {"uri": tenant.bucket.uri(key)}}
    tenant.apply(tenant.adapter("broken", dataset=dataset, pod=TRAINER, serving={"mode": "None"}))
    assert tenant.wait_stalled("broken")["reason"] == "BadDataset"


def test_a_quota_that_wants_limits_is_told_with_the_field(tenant: Tenant) -> None:
    tenant.apply(tenant.adapter("unlimited", serving={"mode": "None"}, training={"seed": 7}))
    adapter = tenant.wait_for_adapter(
        "unlimited", lambda seen: told(seen, "Trained", "spec.pod.resources"), "told", TOLD_SECONDS
    )
    assert condition(adapter, "Trained")["reason"] == "PodsRefused"
    assert "compute" in condition(adapter, "Trained")["message"]
    tenant.apply(tenant.adapter("unlimited", serving={"mode": "None"}, training={"seed": 7}, pod=TRAINER))
    tenant.wait_settled("unlimited")
