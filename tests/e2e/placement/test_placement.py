"""An adapter on one pod of two: whichever pod is asked, it is answered, and the other pod keeps its place."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from demo.cluster import Object
from tests.e2e.serving import Serving, assert_no_failures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
REQUESTS = 30


def spread_over(serving: Serving, replicas: int | None) -> Object:
    """Return the adapter, with or without a number of replicas."""
    own = {} if replicas is None else {"replicas": replicas}
    return serving.tenant.adapter("topic", serving={"rollout": {"rollbackWindowSeconds": 0}, **own})


def wait_for_holders(serving: Serving, wanted: int, timeout: float = 120.0) -> None:
    """Wait until so many pods hold the adapter."""
    begun = time.monotonic()
    while sum(map(bool, held := serving.loaded_versions("topic"))) != wanted:
        assert time.monotonic() - begun < timeout, f"the pods hold {held}; it should be on {wanted}"
        time.sleep(0.5)


@pytest.fixture
def on_one_pod(serving: Serving) -> Iterator[Serving]:
    """The adapter on one pod; afterwards on all of them again."""
    serving.tenant.apply(spread_over(serving, 1))
    serving.tenant.wait_settled("topic")
    wait_for_holders(serving, 1)
    yield serving
    serving.tenant.apply(spread_over(serving, None))
    wait_for_holders(serving, 2)


def test_one_pod_holds_it_and_every_request_is_answered(on_one_pod: Serving) -> None:
    adapter = on_one_pod.tenant.wait_settled("topic")
    told = adapter["status"]["serving"]
    assert (told["desired"], told["loaded"]) == (1, 1)
    with on_one_pod.load("topic", rate=10) as load:
        versions = on_one_pod.version_of("topic")
        load.wait_for_requests(REQUESTS, timeout=60)
        report = load.finish()
    assert versions == {f"topic@v{adapter['status']['servedVersion']}"}
    assert_no_failures(report, REQUESTS)


def test_it_comes_to_all_pods_and_goes_back_to_one_without_a_lost_request(on_one_pod: Serving) -> None:
    with on_one_pod.load("topic", rate=10) as load:
        for replicas, holders in ((None, 2), (1, 1)):
            on_one_pod.tenant.apply(spread_over(on_one_pod, replicas))
            wait_for_holders(on_one_pod, holders)
        load.wait_for_requests(REQUESTS, timeout=60)
        report = load.finish()
    assert_no_failures(report, REQUESTS)
