"""A pod counts once clients reach it, and not at the moment at which it is ready."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.builders import NOW, pod

from graft_operator.plan.rollout.coverage import as_reached

TIMES: dict[str, tuple[datetime | None, bool]] = {
    "it is ready in this second": (NOW, False),
    "for a second": (NOW - timedelta(seconds=1), False),
    "for two seconds": (NOW - timedelta(seconds=2), True),
    "for a day": (NOW - timedelta(days=1), True),
    "its node's clock is ahead": (NOW + timedelta(seconds=1), False),
    "nobody tells since when": (None, True),
}


@pytest.mark.parametrize(("since", "reached"), TIMES.values(), ids=TIMES)
def test_when_a_pod_is_reached(since: datetime | None, reached: bool) -> None:
    (seen,) = as_reached([pod("pod-1", ready_time=since)], NOW)
    assert seen.ready == reached


def test_one_that_is_not_ready_is_not_reached() -> None:
    (seen,) = as_reached([replace(pod("pod-1"), ready=False)], NOW)
    assert not seen.ready


def test_one_that_is_reached_stays_so_whatever_its_node_has_for_a_clock() -> None:
    for ahead in (-5, 0, 1, 60):
        given = pod("pod-1", ready_time=NOW + timedelta(seconds=ahead))
        times = [NOW + timedelta(seconds=seconds) for seconds in range(90)]
        seen = [as_reached([given], now)[0].ready for now in times]
        assert seen == sorted(seen), f"{ahead} s ahead: it was reached, and then was not"
