"""The registry outlives the cluster's objects: created again, they adopt what is there."""

from __future__ import annotations

import time

import pytest
from tests.e2e.figures import Figures
from tests.e2e.tenant import ADAPTERS, BASE, BASES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_recreated_adapter_adopts_its_version(tenant: Tenant, figures: Figures) -> None:
    objects = tenant.base(), tenant.adapter("topic", serving={"mode": "None"})
    tenant.apply(*objects)
    first = tenant.wait_settled("topic")
    tenant.cluster.delete(ADAPTERS, "topic", tenant.namespace)
    tenant.cluster.delete(BASES, BASE, tenant.namespace)
    tenant.cluster.kubectl("wait", "-n", tenant.namespace, "--for=delete", "jobs", "--all", "--timeout=180s")

    begun = time.monotonic()
    tenant.apply(*objects)
    second = tenant.wait_settled("topic", timeout=180)

    figures.note("adapter re-created → version adopted", time.monotonic() - begun, "s")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["versions"][0]["digest"] == first["status"]["versions"][0]["digest"]
    assert tenant.training_jobs() == []
    assert len(tenant.versions("topic")) == 1
