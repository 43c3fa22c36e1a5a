import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.controller_runtime.fair_order import Priority
from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.telemetry import metrics

A, B, C = (AdapterKey("team-a", name) for name in "abc")
OTHER = AdapterKey("team-b", "a")


def now() -> float:
    return asyncio.get_running_loop().time()


async def is_empty(queue: WorkQueue[AdapterKey]) -> bool:
    try:
        async with asyncio.timeout(0.001):
            await queue.get()
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def running(queue: WorkQueue[AdapterKey]) -> AsyncIterator[AdapterKey]:
    key = await queue.get()
    try:
        yield key
    finally:
        queue.done(key)


async def test_ten_adds_are_one_run() -> None:
    queue = WorkQueue[AdapterKey]()
    for _ in range(10):
        queue.add(A)
    assert len(queue) == 1
    async with running(queue) as key:
        assert key == A
    assert await is_empty(queue)


async def test_keys_run_in_the_order_of_their_first_add() -> None:
    queue = WorkQueue[AdapterKey]()
    for key in (B, A, B, C):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == [B, A, C]


async def test_a_key_never_runs_twice_at_once_and_adds_during_a_run_cause_one_rerun() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add(A)
    async with running(queue):
        for _ in range(5):
            queue.add(A)
        assert await is_empty(queue), "the key was handed out while it ran"
    async with running(queue) as key:
        assert key == A
    assert await is_empty(queue)


async def test_a_running_key_does_not_block_others() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add(A)
    async with running(queue):
        queue.add(A)
        queue.add(B)
        async with running(queue) as key:
            assert key == B


async def test_add_after_waits() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add_after(A, 30)
    assert len(queue) == 0
    assert await queue.get() == A
    assert now() == pytest.approx(30)


@pytest.mark.parametrize("delays", [(10, 60), (60, 10)])
async def test_the_earliest_of_pending_delays_wins(delays: tuple[float, float]) -> None:
    queue = WorkQueue[AdapterKey]()
    for delay in delays:
        queue.add_after(A, delay)
    async with running(queue):
        assert now() == pytest.approx(10)
    assert await is_empty(queue)
    await asyncio.sleep(100)
    assert len(queue) == 0, "the later delay fired, too"


async def test_a_run_supersedes_the_delay_that_was_set_before_it() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add_after(A, 10)
    queue.add(A)
    async with running(queue):
        queue.add_after(A, 600)
    assert await queue.get() == A
    assert now() == pytest.approx(600)


async def test_retries_grow_exponentially_to_the_cap_and_start_over_after_forget() -> None:
    queue = WorkQueue[AdapterKey](backoff=Backoff(base_seconds=1, cap_seconds=8, random=lambda: 1.0))
    assert [queue.retry(A) for _ in range(5)] == [1, 2, 4, 8, 8]
    assert queue.retry(B) == 1, "backoff is per key"
    queue.forget(A)
    assert queue.retry(A) == 1


async def test_a_retried_key_comes_back_after_its_delay() -> None:
    queue = WorkQueue[AdapterKey](backoff=Backoff(base_seconds=4, random=lambda: 0.0))
    queue.add(A)
    async with running(queue):
        queue.retry(A)
    await queue.get()
    assert now() == pytest.approx(2), "half of the whole delay is the least"


def test_backoff_stays_within_half_and_whole_and_never_overflows() -> None:
    low, high = Backoff(random=lambda: 0.0), Backoff(random=lambda: 1.0)
    assert (low.delay(1), high.delay(1)) == (0.5, 1.0)
    assert (low.delay(10_000), high.delay(10_000)) == (150.0, 300.0)


async def test_a_more_urgent_add_raises_a_key_and_a_less_urgent_one_leaves_it() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add(A, Priority.PROGRESS)
    queue.add(B, Priority.ROUTINE)
    queue.add(C, Priority.ROUTINE)
    queue.add(C, Priority.URGENT)
    queue.add(A, Priority.ROUTINE)
    assert [await queue.get() for _ in range(3)] == [C, A, B]


async def test_a_rerun_has_the_most_urgent_priority_that_was_asked_during_the_run() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add(A)
    async with running(queue):
        queue.add(B, Priority.PROGRESS)
        for priority in (Priority.ROUTINE, Priority.URGENT, Priority.PROGRESS):
            queue.add(A, priority)
        assert len(queue) == 2
    assert [await queue.get() for _ in range(2)] == [A, B]


async def test_of_pending_delays_the_earliest_time_and_the_most_urgent_priority_count() -> None:
    queue = WorkQueue[AdapterKey]()
    queue.add_after(A, 10, Priority.ROUTINE)
    queue.add_after(A, 60, Priority.URGENT)
    await asyncio.sleep(9)
    queue.add(B, Priority.PROGRESS)
    await asyncio.sleep(2)
    assert [await queue.get() for _ in range(2)] == [A, B]


async def test_a_retry_is_as_urgent_as_the_run_that_failed() -> None:
    queue = WorkQueue[AdapterKey](backoff=Backoff(base_seconds=1))
    queue.add(A, Priority.URGENT)
    async with running(queue):
        queue.retry(A)
    queue.add(B, Priority.PROGRESS)
    await asyncio.sleep(1)
    assert await queue.get() == A


async def test_one_worker_is_left_to_other_namespaces() -> None:
    queue = WorkQueue[AdapterKey](workers=3)
    for key in (A, B, C):
        queue.add(key, Priority.URGENT)
    assert [await queue.get() for _ in range(2)] == [A, B]
    last = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not last.done(), "team-a holds every worker"
    queue.add(OTHER, Priority.ROUTINE)
    assert await last == OTHER
    next_one = asyncio.create_task(queue.get())
    queue.done(OTHER)
    await asyncio.sleep(1)
    assert not next_one.done()
    queue.done(A)
    assert await next_one == C


async def test_a_single_worker_works_for_everybody() -> None:
    queue = WorkQueue[AdapterKey](workers=1)
    queue.add(A)
    assert await queue.get() == A


async def test_a_key_is_not_lost_when_whoever_was_woken_for_it_gives_up() -> None:
    queue = WorkQueue[AdapterKey]()
    impatient, patient = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add(A)
    impatient.cancel()
    assert await patient == A


async def test_the_depth_and_the_wait_are_told_by_priority() -> None:
    def sample(name: str, priority: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, {"priority": priority}) or 0.0

    queue = WorkQueue[AdapterKey]()
    queue.add(A, Priority.URGENT)
    queue.add(B, Priority.ROUTINE)
    queue.add(C, Priority.ROUTINE)
    assert [sample("graft_queue_depth", name) for name in ("urgent", "progress", "routine")] == [1, 0, 2]
    before = sample("graft_queue_wait_seconds_sum", "urgent")
    await asyncio.sleep(2)
    await queue.get()
    assert sample("graft_queue_depth", "urgent") == 0
    assert sample("graft_queue_wait_seconds_sum", "urgent") - before == pytest.approx(2)


KEYS = [AdapterKey(namespace, name) for namespace in ("team-a", "team-b", "team-c") for name in "abc"]


class Bench:
    """Workers on a queue, each pass of which takes some turns of the loop."""

    def __init__(self, workers: int) -> None:
        self.queue = WorkQueue[AdapterKey](workers=workers)
        self.workers = workers
        self.running: set[AdapterKey] = set()
        self.owed: set[AdapterKey] = set()
        """Keys that were added and whose run has not begun since."""

    def add(self, key: AdapterKey, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.owed.add(key)

    async def work(self, turns: int) -> None:
        while True:
            key = await self.queue.get()
            assert key not in self.running, "a key runs twice at once"
            assert key in self.owed, "a key runs that nobody has added"
            self.owed.remove(key)
            self.running.add(key)
            of_namespace = sum(other.namespace == key.namespace for other in self.running)
            assert of_namespace <= max(1, self.workers - 1), "one namespace holds every worker"
            for _ in range(turns):
                await asyncio.sleep(0)
            self.running.remove(key)
            self.queue.done(key)


acts = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(Priority), st.integers(0, 3)), max_size=60)


@given(acts=acts, turns=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_no_add_is_ever_lost_and_no_key_runs_twice_at_once(
    acts: list[tuple[AdapterKey, Priority, int]], turns: list[int]
) -> None:
    async def play() -> None:
        bench = Bench(len(turns))
        tasks = [asyncio.create_task(bench.work(each)) for each in turns]
        for key, priority, pause in acts:
            bench.add(key, priority)
            for _ in range(pause):
                await asyncio.sleep(0)
        for _ in range(len(acts) * 12):
            await asyncio.sleep(0)
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()
        assert bench.owed == set(), "these were added and never run"
        assert len(bench.queue) == 0

    asyncio.run(play())
