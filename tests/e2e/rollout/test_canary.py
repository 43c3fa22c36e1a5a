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
WEIGHTS = (30, 60)
FOR_LONG = 600
"""Seconds of a step that the test itself ends, by a change of the spec: however slow the machine, it is not missed."""
ENOUGH = {"minRequests": 20, "maxLatencyPercent": 1000}
"""On two cores that do everything else as well, answers of one and the same version differ by several times."""
TOLERANCE = 20
"""Percent points by which the answers counted may miss the wanted weight: more than three standard deviations."""
COUNTED = 80
"""Answers to count in each step."""


def canary(**rollout: Any) -> Object:
    """Return the adapter's serving settings."""
    settings = {"strategy": "Canary", "limits": ENOUGH, "rollbackWindowSeconds": 120}
    return {"rollout": settings | rollout}


def step(weight: int, seconds: int = FOR_LONG) -> list[Object]:
    """Return the steps of a canary that has one."""
    return [{"weight": weight, "seconds": seconds}]


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
    """Begin the step of that weight; return the percentage of requests that version 2 answers in it."""

    def in_step(adapter: Object) -> bool:
        progress = adapter["status"]["serving"].get("rollout") or {}
        return progress.get("weight") == weight and "stepTime" in progress

    tenant.apply(tenant.adapter("topic", **SECOND, serving=canary(steps=step(weight))))
    tenant.wait_for_adapter("topic", in_step, f"in the step of {weight} %")
    asked = load.latest()["requests"]
    before = counted(load.wait_for_requests(asked + int(RATE), timeout=60))  # a report that is younger than the step
    after = counted(load.wait_for_requests(sum(before.values()) + COUNTED, timeout=60))
    first, second = (after[number] - before[number] for number in (1, 2))
    return 100 * second / (first + second)


def test_good_version_takes_over_in_the_wanted_shares(trained: Tenant, serving: Serving, figures: Figures) -> None:
    back_to_first(trained)
    jobs = trained.training_jobs("topic")
    with serving.load("topic", rate=RATE) as load:
        load.wait_for_requests(10, timeout=120)
        shares = {weight: percent_of_second(trained, load, weight) for weight in WEIGHTS}
        trained.apply(trained.adapter("topic", **SECOND, serving=canary(steps=step(WEIGHTS[-1], 1))))
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
    impossible = canary(steps=step(50), limits={"minRequests": 10, "maxLatencyPercent": 1})
    with serving.load("topic", rate=RATE) as load:
        load.wait_for_requests(10, timeout=120)
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
