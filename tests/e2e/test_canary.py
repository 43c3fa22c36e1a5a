"""A new version takes over by canary, goes back by itself, and obeys a number in Git; none is trained for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from demo.client import Load
from demo.cluster import Object, condition
from demo.goals import version_entry
from tests.e2e.figures import Figures
from tests.e2e.serving import Serving, answered_by
from tests.e2e.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
RATE = 16.0
SECOND: Mapping[str, Any] = {"lora": {"rank": 16, "targetModules": ["all-linear"]}}
"""What version 2 differs by."""
STEPS = [{"weight": 30, "seconds": 4}, {"weight": 60, "seconds": 4}]
ENOUGH = {"minRequests": 20, "maxLatencyPercent": 1000}
"""On two cores that do everything else as well, answers of one and the same version differ by several times."""
TOLERANCE = 20
"""Percent points by which 60 requests or more may miss the wanted weight: more than three standard deviations."""


def canary(**rollout: Any) -> Object:
    """Return the adapter's serving settings."""
    settings = {"strategy": "Canary", "steps": STEPS, "limits": ENOUGH, "rollbackWindowSeconds": 60}
    return {"rollout": settings | rollout}


def back_to_first(tenant: Tenant) -> None:
    """Serve version 1 and forget what is remembered of version 2."""
    tenant.apply(tenant.adapter("topic", serving=canary()))
    assert tenant.wait_settled("topic")["status"]["servedVersion"] == 1


@pytest.fixture(scope="module")
def trained(serving: Serving) -> Tenant:
    """Have versions 1 and 2 of topic, of which none has to be trained again."""
    tenant = serving.tenant
    for spec in ({}, SECOND):
        tenant.apply(tenant.adapter("topic", **spec))
        tenant.wait_settled("topic")
    return tenant


def counted(report: Mapping[str, Any]) -> dict[int, int]:
    """Return the number of answers of each version in a report."""
    answers = [(name.partition(" on ")[0], seen["count"]) for name, seen in report["versions"].items()]
    return {number: sum(count for label, count in answers if label.endswith(f"@v{number}")) for number in (1, 2)}


def percent_of_second(tenant: Tenant, load: Load, weight: int) -> float:
    """Return the percentage of requests that version 2 answers during the step of that weight."""

    def in_step(adapter: Object) -> bool:
        progress = adapter["status"]["serving"].get("rollout") or {}
        return progress.get("weight") == weight and "stepTime" in progress

    tenant.wait_for_adapter("topic", in_step, f"in the step of {weight} %")
    time.sleep(1)  # until the next report, which knows of this moment
    before = counted(load.latest())
    tenant.wait_for_adapter("topic", lambda adapter: not in_step(adapter), f"after the step of {weight} %")
    after = counted(load.latest())
    first, second = (after[number] - before[number] for number in (1, 2))
    return 100 * second / (first + second)


def test_good_version_takes_over_in_the_wanted_shares(trained: Tenant, serving: Serving, figures: Figures) -> None:
    back_to_first(trained)
    jobs = trained.training_jobs("topic")
    with serving.load("topic", rate=RATE) as load:
        load.wait_for_requests(10, timeout=60)
        trained.apply(trained.adapter("topic", **SECOND, serving=canary()))
        shares = {step["weight"]: percent_of_second(trained, load, step["weight"]) for step in STEPS}
        adapter = trained.wait_settled("topic")
        report = load.finish()
    for weight, percent in shares.items():
        figures.note(f"canary: answers of the new version at weight {weight}", percent, "%")
    assert report["failed"] == 0, report["failures"]
    assert all(abs(percent - weight) <= TOLERANCE for weight, percent in shares.items()), shares
    assert adapter["status"]["servedVersion"] == 2
    assert serving.loaded_versions("topic") == [[1, 2], [1, 2]], "version 1 stays for the rollback window"
    assert set(trained.training_jobs("topic")) <= set(jobs)


def test_slower_version_is_rolled_back_by_itself(trained: Tenant, serving: Serving, figures: Figures) -> None:
    back_to_first(trained)
    impossible = canary(steps=[{"weight": 50, "seconds": 600}], limits={"minRequests": 10, "maxLatencyPercent": 1})
    with serving.load("topic", rate=RATE) as load:
        load.wait_for_requests(10, timeout=60)
        trained.apply(trained.adapter("topic", **SECOND, serving=impossible))
        stalled = trained.wait_stalled("topic")
        told = time.time()
        load.wait_for_requests(load.latest()["requests"] + 30, timeout=60)
        report = load.finish()
    assert report["failed"] == 0, report["failures"]
    assert answered_by(report, "topic") == {"topic@v1", "topic@v2"}
    [second] = [seen for name, seen in report["versions"].items() if "@v2 " in name]
    figures.note("canary: first answer of a slow version → rolled back", told - second["first"], "s")
    figures.note("canary: first answer of a slow version → its last", second["last"] - second["first"], "s")
    assert stalled["reason"] == "RolledBack"
    assert "maxLatencyPercent" in stalled["message"]
    adapter = trained.read("topic")
    assert version_entry(adapter, 2)["state"] == "RolledBack"
    assert condition(adapter, "Ready")["status"] == "True"
    assert serving.version_of("topic") == {"topic@v1"}


def test_promote_and_abort_obey_at_once(trained: Tenant, serving: Serving, figures: Figures) -> None:
    trained.apply(trained.adapter("topic", **SECOND, serving=canary(promote=2)))
    assert trained.wait_settled("topic")["status"]["servedVersion"] == 2
    assert serving.version_of("topic") == {"topic@v2"}
    begun = time.monotonic()
    trained.apply(trained.adapter("topic", **SECOND, serving=canary(abort=2)))
    assert trained.wait_stalled("topic")["reason"] == "RolledBack"
    trained.wait_for_adapter("topic", lambda adapter: adapter["status"].get("servedVersion") == 1, "back at version 1")
    figures.note("abort applied → old version answers everywhere", time.monotonic() - begun, "s")
    assert serving.version_of("topic") == {"topic@v1"}
