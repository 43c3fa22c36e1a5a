"""A version whose files were tampered with is refused by the pods, said so, and hurts nobody beside it."""

from __future__ import annotations

import pytest
from demo.cluster import condition
from tests.e2e.serving import Serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_tampered_version_is_refused_and_siblings_go_on(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic"), tenant.adapter("poison", serving={"mode": "None"}))
    tenant.wait_settled("topic")
    tenant.wait_settled("poison")
    before = serving.texts("topic", serving.sample)
    for key in tenant.stored("poison"):
        if "/blobs/" in key:
            tenant.bucket.put(key, b"not what was published")

    tenant.apply(tenant.adapter("poison", serving={"mode": "MultiAdapter"}))
    stalled = tenant.wait_stalled("poison")

    assert stalled["reason"] == "VersionRefused"
    assert "DigestMismatch" in stalled["message"]
    [answer] = serving.client.ask(serving.url, {"poison": serving.sample[:1]})["poison"]
    assert answer.status == 503  # known, but no pod may serve it; above all, the base does not answer for it
    assert serving.texts("topic", serving.sample) == before
    assert condition(tenant.read("topic"), "Ready")["status"] == "True"
    tenant.cluster.delete("loraadapter", "poison", tenant.namespace)
