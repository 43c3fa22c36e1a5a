import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from graft_operator.engine.backoff import Backoff
from graft_operator.engine.work_queue import WorkQueue


def now() -> float:
    return asyncio.get_running_loop().time()


async def is_empty(queue: WorkQueue[str]) -> bool:
    try:
        async with asyncio.timeout(0.001):
            await queue.get()
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def running(queue: WorkQueue[str]) -> AsyncIterator[str]:
    key = await queue.get()
    try:
        yield key
    finally:
        queue.done(key)


async def test_ten_adds_are_one_run() -> None:
    queue = WorkQueue[str]()
    for _ in range(10):
        queue.add("a")
    assert len(queue) == 1
    async with running(queue) as key:
        assert key == "a"
    assert await is_empty(queue)


async def test_keys_run_in_the_order_of_their_first_add() -> None:
    queue = WorkQueue[str]()
    for key in ("b", "a", "b", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["b", "a", "c"]


async def test_a_key_never_runs_twice_at_once_and_adds_during_a_run_cause_one_rerun() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    async with running(queue):
        for _ in range(5):
            queue.add("a")
        assert await is_empty(queue), "the key was handed out while it ran"
    async with running(queue) as key:
        assert key == "a"
    assert await is_empty(queue)


async def test_a_running_key_does_not_block_others() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    async with running(queue):
        queue.add("a")
        queue.add("b")
        async with running(queue) as key:
            assert key == "b"


async def test_add_after_waits() -> None:
    queue = WorkQueue[str]()
    queue.add_after("a", 30)
    assert len(queue) == 0
    assert await queue.get() == "a"
    assert now() == pytest.approx(30)


@pytest.mark.parametrize("delays", [(10, 60), (60, 10)])
async def test_the_earliest_of_pending_delays_wins(delays: tuple[float, float]) -> None:
    queue = WorkQueue[str]()
    for delay in delays:
        queue.add_after("a", delay)
    async with running(queue):
        assert now() == pytest.approx(10)
    assert await is_empty(queue)
    await asyncio.sleep(100)
    assert len(queue) == 0, "the later delay fired, too"


async def test_a_run_supersedes_the_delay_that_was_set_before_it() -> None:
    queue = WorkQueue[str]()
    queue.add_after("a", 10)
    queue.add("a")
    async with running(queue):
        queue.add_after("a", 600)
    assert await queue.get() == "a"
    assert now() == pytest.approx(600)


async def test_retries_grow_exponentially_to_the_cap_and_start_over_after_forget() -> None:
    queue = WorkQueue[str](backoff=Backoff(base_seconds=1, cap_seconds=8, random=lambda: 1.0))
    assert [queue.retry("a") for _ in range(5)] == [1, 2, 4, 8, 8]
    assert queue.retry("b") == 1, "backoff is per key"
    queue.forget("a")
    assert queue.retry("a") == 1


async def test_a_retried_key_comes_back_after_its_delay() -> None:
    queue = WorkQueue[str](backoff=Backoff(base_seconds=4, random=lambda: 0.0))
    queue.add("a")
    async with running(queue):
        queue.retry("a")
    await queue.get()
    assert now() == pytest.approx(2), "half of the whole delay is the least"


def test_backoff_stays_within_half_and_whole_and_never_overflows() -> None:
    low, high = Backoff(random=lambda: 0.0), Backoff(random=lambda: 1.0)
    assert (low.delay(1), high.delay(1)) == (0.5, 1.0)
    assert (low.delay(10_000), high.delay(10_000)) == (150.0, 300.0)
