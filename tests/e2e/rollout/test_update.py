"""A new version takes over from the old one while requests go on, and a revert brings the old one back."""

from __future__ import annotations

import time

import pytest
from demo.cluster import Object
from demo.goals import published_time
from tests.e2e.figures import Figures
from tests.e2e.serving import Serving, answered_by, assert_no_failures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
REQUESTS = 1000
RATE = 20.0


@pytest.fixture(scope="module")
def first(serving: Serving) -> Object:
    """Return the adapter topic with its first spec, served."""
    serving.tenant.apply(serving.tenant.adapter("topic"))
    return serving.tenant.wait_settled("topic")


def test_new_version_loses_no_request(first: Object, serving: Serving, figures: Figures) -> None:
    tenant = serving.tenant
    with serving.load("topic", rate=RATE) as load:
        tenant.apply(tenant.adapter("topic", lora={"rank": 16, "targetModules": ["all-linear"]}))
        second = tenant.wait_settled("topic")
        served = time.time()
        load.wait_for_requests(REQUESTS, timeout=400)
        report = load.finish()
    assert_no_failures(report, REQUESTS)
    assert second["status"]["servedVersion"] == 2
    assert answered_by(report, "topic") == {"topic@v1", "topic@v2"}
    last_old = max(seen["last"] for name, seen in report["versions"].items() if name.startswith("topic@v1 "))
    published = published_time(second, 2)
    figures.note("version published → answers on every replica", served - published, "s")
    figures.note("version published → last answer of the old one", last_old - published, "s")
    figures.note("requests during the update", report["requests"], "requests")
    figures.note("slowest request during the update", report["slowest"], "ms")
    assert served - published < 30
    assert last_old < served + 1


def test_old_version_is_unloaded(serving: Serving) -> None:
    serving.wait_for_loaded_versions("topic", [2])
    assert serving.version_of("topic") == {"topic@v2"}


def test_revert_needs_no_training(serving: Serving, figures: Figures) -> None:
    tenant = serving.tenant
    jobs = tenant.training_jobs("topic")
    begun = time.monotonic()
    tenant.apply(tenant.adapter("topic"))
    reverted = tenant.wait_settled("topic")
    figures.note("revert applied → old version answers everywhere", time.monotonic() - begun, "s")
    assert reverted["status"]["servedVersion"] == 1
    assert serving.version_of("topic") == {"topic@v1"}
    assert set(tenant.training_jobs("topic")) <= set(jobs)
    assert [manifest["number"] for manifest in tenant.versions("topic")] == [1, 2]
