"""Removing the release while objects are there: they stay, and can be deleted without the operator."""

from __future__ import annotations

import pytest
from demo import release
from tests.e2e.tenant import ADAPTERS, BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def anchors(tenant: Tenant) -> list[str]:
    """Return the names of the objects that keep what bases serve with."""
    names = [item["metadata"]["name"] for item in tenant.cluster.list("configmap", tenant.namespace)]
    return [name for name in names if name.endswith("-anchor")]


def test_uninstall_leaves_no_stuck_finalizer(tenant: Tenant) -> None:
    tenant.apply(tenant.base(), tenant.adapter("topic", deletionPolicy="Delete", suspend=True))
    tenant.wait_resolved()
    tenant.wait_for_adapter("topic", lambda seen: bool(seen["metadata"].get("finalizers")), "holding a finalizer", 60)

    assert anchors(tenant) != []

    release.uninstall(tenant.cluster)

    assert anchors(tenant) == [], "nobody is left to delete them with their bases"
    assert tenant.read("topic")["metadata"].get("finalizers", []) == []
    for kind, name in ((ADAPTERS, "topic"), (BASES, BASE)):
        tenant.cluster.kubectl("delete", kind, name, "-n", tenant.namespace, "--timeout=120s")
        assert tenant.cluster.get(kind, name, tenant.namespace) is None
