"""Serving pods come and go: users notice nothing, and the end is the same."""

from __future__ import annotations

import pytest
from demo.cluster import Object, holds
from demo.goals import serves_only_current
from tests.e2e.serving import ENGINE_SECONDS, REPLICAS, Serving, assert_no_failures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def is_whole(adapter: Object) -> bool:
    return bool(adapter["status"]["serving"].get("loaded", 0) == REPLICAS)


def test_pod_is_replaced_without_a_lost_request(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic"))
    tenant.wait_settled("topic")
    victim = tenant.pods("serving")[0]["metadata"]["name"]
    with serving.load("topic", rate=10) as load:
        tenant.cluster.delete("pod", victim, tenant.namespace, "--wait=false")
        tenant.wait_for_adapter("topic", lambda seen: not is_whole(seen), "told as incomplete", 60)
        tenant.wait_for_base(serves_only_current, "served on both replicas again", ENGINE_SECONDS)
        adapter = tenant.wait_for_adapter("topic", is_whole, "loaded on both replicas", 120)
        report = load.finish()
    assert_no_failures(report, at_least=100)
    assert adapter["status"]["servedVersion"] == 1
    assert serving.loaded_versions("topic") == [[1]] * REPLICAS


def test_pod_killed_in_the_middle_of_a_rollout(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic", lora={"rank": 16, "targetModules": ["all-linear"]}))
    tenant.wait_for_adapter("topic", lambda seen: seen["status"]["serving"]["target"]["number"] == 2, "rolling out")
    victim = tenant.pods("serving")[0]["metadata"]["name"]
    tenant.cluster.delete("pod", victim, tenant.namespace, "--grace-period=0", "--force")
    # Without this, what the status said before the loss would pass for a recovery.
    tenant.wait_for_base(lambda base: not holds(base, "Ready"), "missing a replica", 60)
    tenant.wait_for_base(serves_only_current, "served on both replicas again", ENGINE_SECONDS)
    tenant.wait_settled("topic", timeout=ENGINE_SECONDS)
    serving.wait_for_loaded_versions("topic", [2])
    assert serving.version_of("topic") == {"topic@v2"}
