"""The base changes under its adapters while requests go on: each is trained again, and nobody sees a gap."""

from __future__ import annotations

import time

import pytest
from demo.cluster import condition
from demo.goals import serves_only_current
from tests.e2e.figures import Figures
from tests.e2e.serving import REPLICAS, Serving, answered_by, assert_no_failures
from tests.e2e.tenant import BASE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
REQUESTS = 1000
RATE = 8.0
"""The bump takes about two minutes: as many requests as are wanted, and no more beside the training."""
BUMP_SECONDS = 900.0


def test_base_bump_readapts_without_a_lost_request(serving: Serving, figures: Figures) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic"), tenant.adapter("speech", rows="speech"))
    before = {name: tenant.wait_settled(name)["status"]["servedVersion"] for name in ("topic", "speech")}
    old = tenant.wait_resolved()
    [old_deployment] = serving.deployments()
    begun = time.monotonic()
    with serving.load("topic", "speech", BASE, rate=RATE) as load:
        tenant.apply(tenant.base("base-v2", replicas=REPLICAS))
        new = tenant.wait_for_base(
            lambda base: base["status"].get("resolved", {}).get("digest") not in (None, old), "resolved anew"
        )["status"]["resolved"]["digest"]
        after = {name: tenant.wait_settled(name, base_digest=new, timeout=BUMP_SECONDS) for name in before}
        figures.note("base bumped → both adapters answer on it", time.monotonic() - begun, "s")
        base = tenant.wait_for_base(serves_only_current, "only the new base is served", 180)
        load.wait_for_requests(REQUESTS, timeout=400)
        report = load.finish()
    figures.note("requests during the base bump", report["requests"], "requests")
    figures.note("slowest request during the base bump", report["slowest"], "ms")

    assert_no_failures(report, REQUESTS)
    for name, adapter in after.items():
        newest = adapter["status"]["versions"][0]
        assert adapter["status"]["servedVersion"] == newest["number"] > before[name]
        assert (newest["reason"], newest["baseDigest"]) == ("BaseModelChanged", new)
        assert answered_by(report, name) == {f"{name}@v{before[name]}", f"{name}@v{newest['number']}"}
    counts = {"total": 2, "upToDate": 2, "readapting": 0, "blocked": 0, "onDemand": 0, "notResident": 0}
    assert base["status"]["adapters"] == counts
    assert condition(base, "AdaptersUpToDate")["status"] == "True"
    assert [item["metadata"]["uid"] for item in serving.deployments()] != [old_deployment["metadata"]["uid"]]
    assert len(serving.deployments()) == 1
    assert serving.texts(BASE, serving.sample) != serving.base_answers
