"""A base that is deleted serves on for as long as adapters name it, however it was deleted, and then all of it goes."""

from __future__ import annotations

import time

import pytest
from demo.cluster import condition
from tests.e2e.serving import Serving, assert_no_failures
from tests.e2e.tenant import ADAPTERS, BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
KINDS = "services,deployments,pods,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
OF_BASES = "graft.dev/owner-kind=BaseModel"
REQUESTS = 150
"""Some twenty seconds: pods that were told to go would be gone by then, and their address at once."""
GONE_SECONDS = 180.0


def served_with(tenant: Tenant) -> dict[str, str]:
    """Return the UIDs of all that there is of the base, by kind and name, but its Jobs and their pods."""
    found = tenant.cluster.list(KINDS, tenant.namespace, f"{OF_BASES},graft.dev/component=serving")
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in found}


def is_held(base: object) -> bool:
    return condition(base, "Reconciling").get("reason") == "DeletionBlocked"  # type: ignore[arg-type]


def test_a_base_that_is_deleted_in_the_foreground_serves_on(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic"))
    tenant.wait_settled("topic")
    kept = served_with(tenant)
    with serving.load("topic", BASE) as load:
        tenant.cluster.delete(BASES, BASE, tenant.namespace, "--cascade=foreground", "--wait=false")
        tenant.wait_for_base(is_held, "saying why it stays", 60)
        load.wait_for_requests(load.latest()["requests"] + REQUESTS, timeout=120)
        report = load.finish()
    assert_no_failures(report, REQUESTS)
    assert served_with(tenant) == kept


def test_all_of_it_goes_with_the_last_adapter(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.cluster.kubectl("delete", ADAPTERS, "--all", "-n", tenant.namespace, "--cascade=foreground", timeout=200)
    tenant.cluster.kubectl(
        "wait", "-n", tenant.namespace, "--for=delete", f"{BASES}/{BASE}", f"--timeout={GONE_SECONDS:.0f}s", timeout=200
    )
    deadline = time.monotonic() + GONE_SECONDS
    while left := served_with(tenant):
        assert time.monotonic() < deadline, f"nobody deletes {sorted(left)}"
        time.sleep(1)
