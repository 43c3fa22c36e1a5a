"""Deleting: versions go or stay as the policy says, and a base stays as long as an adapter needs it."""

from __future__ import annotations

import pytest
from demo.cluster import condition
from tests.e2e.tenant import ADAPTERS, BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
UNSERVED = {"mode": "None"}


@pytest.fixture(scope="module", autouse=True)
def adapters(tenant: Tenant) -> None:
    """Publish a version of one adapter per policy; what is tested here needs no engine."""
    tenant.apply(
        tenant.base(),
        tenant.adapter("keeper", serving=UNSERVED, deletionPolicy="Retain"),
        tenant.adapter("goner", serving=UNSERVED, deletionPolicy="Delete"),
    )
    for name in ("keeper", "goner"):
        tenant.wait_settled(name)


def test_base_waits_for_its_adapters_and_says_so(tenant: Tenant) -> None:
    tenant.cluster.delete(BASES, BASE, tenant.namespace, "--wait=false")
    base = tenant.wait_for_base(
        lambda seen: condition(seen, "Reconciling").get("reason") == "DeletionBlocked", "saying why it stays", 60
    )
    message = condition(base, "Reconciling")["message"]
    assert "keeper" in message
    assert "goner" in message


def test_policy_delete_empties_the_registry(tenant: Tenant) -> None:
    assert tenant.stored("goner") != []
    tenant.cluster.delete(ADAPTERS, "goner", tenant.namespace)
    assert tenant.stored("goner") == []


def test_policy_retain_keeps_the_versions(tenant: Tenant) -> None:
    before = tenant.stored("keeper")
    tenant.cluster.delete(ADAPTERS, "keeper", tenant.namespace)
    assert tenant.stored("keeper") == before
    assert len(tenant.versions("keeper")) == 1


def test_base_goes_after_its_last_adapter(tenant: Tenant) -> None:
    tenant.cluster.kubectl("wait", "-n", tenant.namespace, "--for=delete", f"{BASES}/{BASE}", "--timeout=180s")
    assert tenant.cluster.get(BASES, BASE, tenant.namespace) is None
