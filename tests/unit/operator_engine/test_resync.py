import asyncio
from collections.abc import Iterable

import pytest

from graft_operator.engine.controller import TransientError
from graft_operator.engine.resync import SPREAD_SECONDS, resync_forever
from graft_operator.engine.work_queue import WorkQueue


async def test_all_keys_are_enqueued_each_period_spread_over_ten_seconds() -> None:
    queue, beats = WorkQueue[str](), []

    async def list_keys() -> Iterable[str]:
        return ["a", "b", "c"]

    task = asyncio.create_task(
        resync_forever(queue, list_keys, every=600, beat=lambda: beats.append(1), jitter=lambda: 0.5)
    )
    arrivals = {await queue.get(): asyncio.get_running_loop().time() for _ in range(3)}
    assert arrivals["a"] == pytest.approx(600, abs=0.1)
    assert 600 < arrivals["b"] < arrivals["c"] < 600 + SPREAD_SECONDS
    for key in arrivals:
        queue.done(key)
    await queue.get()
    assert asyncio.get_running_loop().time() == pytest.approx(1200, abs=0.1)
    assert len(beats) == 3
    task.cancel()


async def test_an_outage_is_waited_out_and_is_no_reason_for_a_restart() -> None:
    queue, beats, outcomes = WorkQueue[str](), [], [TransientError("away")] * 3

    async def list_keys() -> Iterable[str]:
        if outcomes:
            raise outcomes.pop()
        return ["a"]

    task = asyncio.create_task(
        resync_forever(
            queue,
            list_keys,
            every=600,
            beat=lambda: beats.append(asyncio.get_running_loop().time()),
            jitter=lambda: 0.5,
        )
    )
    await queue.get()
    assert asyncio.get_running_loop().time() == pytest.approx(600 + 3 * 30, abs=0.1)
    assert beats == pytest.approx([0, 600, 630, 660, 690], abs=0.1)
    task.cancel()


async def test_a_programming_error_surfaces() -> None:
    async def list_keys() -> Iterable[str]:
        raise KeyError("items")

    with pytest.raises(KeyError):
        await resync_forever(WorkQueue[str](), list_keys, every=10, beat=lambda: None)
