import asyncio
from collections.abc import Iterable

import pytest

from graft_operator.engine.controller import TransientError
from graft_operator.engine.keys import AdapterKey
from graft_operator.engine.resync import SPREAD_SECONDS, resync_forever
from graft_operator.engine.work_queue import WorkQueue

A, B, C = (AdapterKey("ns", name) for name in "abc")


async def test_all_keys_are_enqueued_each_period_spread_over_ten_seconds() -> None:
    queue, beats = WorkQueue[AdapterKey](), []

    async def list_keys() -> Iterable[AdapterKey]:
        return [A, B, C]

    task = asyncio.create_task(
        resync_forever(queue, list_keys, every=600, beat=lambda: beats.append(1), jitter=lambda: 0.5)
    )
    arrivals = {await queue.get(): asyncio.get_running_loop().time() for _ in range(3)}
    assert arrivals[A] == pytest.approx(600, abs=0.1)
    assert 600 < arrivals[B] < arrivals[C] < 600 + SPREAD_SECONDS
    for key in arrivals:
        queue.done(key)
    await queue.get()
    assert asyncio.get_running_loop().time() == pytest.approx(1200, abs=0.1)
    assert len(beats) == 3
    task.cancel()


@pytest.mark.parametrize(
    "error", [TransientError("away"), PermissionError("no Role in this namespace"), KeyError("items")]
)
async def test_a_listing_that_fails_is_tried_again_and_is_no_reason_for_a_restart(error: Exception) -> None:
    queue, beats, outcomes = WorkQueue[AdapterKey](), [], [error] * 3

    async def list_keys() -> Iterable[AdapterKey]:
        if outcomes:
            raise outcomes.pop()
        return [A]

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


async def test_the_resync_waits_behind_everything_that_is_known_to_have_moved() -> None:
    queue = WorkQueue[AdapterKey]()

    async def list_keys() -> Iterable[AdapterKey]:
        return [A]

    task = asyncio.create_task(resync_forever(queue, list_keys, every=10, beat=lambda: None, jitter=lambda: 0.5))
    await asyncio.sleep(10.5)
    queue.add(B)
    assert [await queue.get() for _ in range(2)] == [B, A]
    task.cancel()
