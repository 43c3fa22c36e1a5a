import asyncio

import pytest

from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.controller_runtime.resync import resync_forever
from graft_operator.controller_runtime.work_queue import WorkQueue

A, B, C = (AdapterKey("ns", name) for name in "abc")


async def test_all_keys_are_enqueued_once_each_period_spread_over_it() -> None:
    queue, beats = WorkQueue[AdapterKey](), []
    clock = asyncio.get_running_loop().time
    task = asyncio.create_task(
        resync_forever(queue, lambda: [A, B, C], every=600, beat=lambda: beats.append(clock()), jitter=lambda: 0.51)
    )
    arrivals = []
    for _ in range(6):
        key = await queue.get()
        arrivals.append((key, clock()))
        queue.done(key)
    assert [key for key, _ in arrivals] == [A, B, C, A, B, C]
    assert [time for _, time in arrivals] == pytest.approx([200, 400, 600, 800, 1000, 1200], abs=2)
    assert beats[:2] == pytest.approx([0, 600], abs=2)
    task.cancel()


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 540), (0.5, 600), (0.999, 660)])
async def test_no_two_operators_keep_step(drawn: float, seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    beats: list[float] = []
    queue = WorkQueue[AdapterKey]()
    task = asyncio.create_task(
        resync_forever(queue, list, every=600, beat=lambda: beats.append(clock()), jitter=lambda: drawn)
    )
    await asyncio.sleep(700)
    assert beats == pytest.approx([0, seconds], abs=0.2)
    task.cancel()


async def test_each_turn_takes_what_there_is_by_then() -> None:
    queue, known = WorkQueue[AdapterKey](), [A]
    task = asyncio.create_task(
        resync_forever(queue, lambda: list(known), every=10, beat=lambda: None, jitter=lambda: 0.51)
    )
    found = [await queue.get()]
    queue.done(A)
    known[:] = [B]
    found.append(await queue.get())
    assert found == [A, B]
    task.cancel()


async def test_the_resync_waits_behind_everything_that_is_known_to_have_moved() -> None:
    queue = WorkQueue[AdapterKey]()
    task = asyncio.create_task(resync_forever(queue, lambda: [A], every=10, beat=lambda: None, jitter=lambda: 0.51))
    await asyncio.sleep(10.5)
    queue.add(B)
    assert [await queue.get() for _ in range(2)] == [B, A]
    task.cancel()
