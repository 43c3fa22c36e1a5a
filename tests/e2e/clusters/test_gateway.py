"""A base behind a Gateway: its InferencePool comes with the kind, is taken by a Gateway, and goes with the field.

No engine is needed, and no Gateway: what one would write into the pool's status, the test writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo.cluster import Cluster, Object, condition
from tests.e2e.tenant import BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DEFINITION = Path(__file__).with_name("gateway_crds") / "inferencepools.yaml"
POOLS = "inferencepools.inference.networking.k8s.io"
POOL = f"graft-{BASE}"
GATEWAY = {"endpointPickerRef": {"name": "picker", "failureMode": "FailClose"}}
NOTICED_SECONDS = 120.0
"""The operator looks twice a minute at what it isn't told of; the machine may be busy."""


@pytest.fixture(scope="module", autouse=True)
def without_the_kind(cluster: Cluster) -> Iterator[None]:
    """Begin and end without the kind, also after a run that was cut short."""
    cluster.delete("customresourcedefinition", POOLS)
    yield
    cluster.delete("customresourcedefinition", POOLS)


def gateway_says(reason: str) -> Callable[[Object], bool]:
    return lambda base: bool(condition(base, "GatewayReady").get("reason") == reason)


def wait_for_pool(tenant: Tenant) -> Object:
    pools = tenant.cluster.wait_for(
        POOLS, tenant.namespace, lambda seen: POOL in seen, what=f"InferencePool {POOL}", timeout=NOTICED_SECONDS
    )
    return pools[POOL]


def wait_until_gone(tenant: Tenant, kind: str, name: str) -> None:
    tenant.cluster.kubectl(
        "wait", "-n", tenant.namespace, "--for=delete", f"{kind}/{name}", "--timeout=120s", timeout=130
    )
    assert tenant.cluster.get(kind, name, tenant.namespace) is None


def test_without_the_kind_the_base_says_so_and_is_served_as_ever(tenant: Tenant) -> None:
    tenant.apply(tenant.base(gateway=GATEWAY))
    tenant.wait_resolved()
    base = tenant.wait_for_base(gateway_says("GatewayApiMissing"), "saying that the kind is missing", NOTICED_SECONDS)
    assert condition(base, "GatewayReady")["status"] == "False"
    assert "CustomResourceDefinitions" in condition(base, "GatewayReady")["message"]
    assert tenant.cluster.get("service", POOL, tenant.namespace) is not None
    assert tenant.cluster.list("deployment", tenant.namespace, "graft.dev/component=serving") != []


def test_a_kind_that_is_installed_later_is_noticed(tenant: Tenant) -> None:
    tenant.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(DEFINITION))
    tenant.cluster.wait_for_kinds(POOLS)
    tenant.wait_for_base(gateway_says("NoGateway"), "waiting for a Gateway", NOTICED_SECONDS)
    wait_for_pool(tenant)


def test_the_pool_has_the_services_pods_and_port_and_belongs_to_the_base(tenant: Tenant) -> None:
    pool = wait_for_pool(tenant)
    service = tenant.cluster.get("service", POOL, tenant.namespace)
    base = tenant.cluster.get(BASES, BASE, tenant.namespace)
    [deployment] = tenant.cluster.list("deployment", tenant.namespace, "graft.dev/component=serving")
    assert service is not None
    assert base is not None
    selector = pool["spec"]["selector"]["matchLabels"]
    assert selector == service["spec"]["selector"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert pool["spec"]["targetPorts"] == [{"number": 8000}]
    assert pool["spec"]["endpointPickerRef"] == {
        "group": "",
        "kind": "Service",
        "name": "picker",
        "port": {"number": 9002},
        "failureMode": "FailClose",
    }
    owner, anchor = pool["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("BaseModel", base["metadata"]["uid"], True)
    assert anchor["name"].endswith("-anchor")
    assert "controller" not in anchor


def test_what_a_gateway_says_of_the_pool_is_passed_on(tenant: Tenant) -> None:
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"parents": [{"parentRef": {"name": "inference"}, "conditions": [accepted]}]}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    tenant.cluster.kubectl("patch", POOLS, POOL, "-n", tenant.namespace, *patch)
    base = tenant.wait_for_base(gateway_says("Accepted"), "accepted by the Gateway", NOTICED_SECONDS)
    assert condition(base, "GatewayReady")["status"] == "True"
    assert "inference" in condition(base, "GatewayReady")["message"]


def test_without_the_field_the_pool_goes_and_the_service_stays(tenant: Tenant) -> None:
    tenant.apply(tenant.base())
    wait_until_gone(tenant, POOLS, POOL)
    base = tenant.wait_for_base(lambda seen: "reason" not in condition(seen, "GatewayReady"), "silent", NOTICED_SECONDS)
    assert condition(base, "Resolved")["status"] == "True"
    assert tenant.cluster.get("service", POOL, tenant.namespace) is not None


def test_a_pool_without_a_picker_is_taken_and_goes_with_the_base(tenant: Tenant) -> None:
    tenant.apply(tenant.base(gateway={}))
    assert "endpointPickerRef" not in wait_for_pool(tenant)["spec"]
    tenant.cluster.delete(BASES, BASE, tenant.namespace)
    wait_until_gone(tenant, POOLS, POOL)
