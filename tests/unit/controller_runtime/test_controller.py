import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.controller_runtime.controller import Result, TransientError, run_worker
from graft_operator.controller_runtime.fair_order import Priority
from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.telemetry import metrics

A, B = AdapterKey("ns", "a"), AdapterKey("ns", "b")


def now() -> float:
    return asyncio.get_running_loop().time()


def make_queue() -> WorkQueue[AdapterKey]:
    return WorkQueue(backoff=Backoff(base_seconds=10, random=lambda: 1.0))


@asynccontextmanager
async def workers(
    queue: WorkQueue[AdapterKey],
    reconcile: Callable[[AdapterKey], Awaitable[Result]],
    *,
    count: int = 1,
    seconds: float = 60,
    on_timeout: Callable[[AdapterKey, float], Awaitable[None]] | None = None,
    beat: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    working = [run_worker(queue, reconcile, timeout=seconds, on_timeout=on_timeout, beat=beat) for _ in range(count)]
    tasks = [asyncio.create_task(each) for each in working]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def passes(result: str) -> float:
    return metrics.REGISTRY.get_sample_value("graft_reconciles_total", {"kind": "LoraAdapter", "result": result}) or 0.0


class Recorder:
    """Reconciles by a script: one outcome per pass, then success. Records (key, loop time) of each pass."""

    def __init__(self, *script: Exception | Result) -> None:
        self.script = list(script)
        self.runs: list[tuple[AdapterKey, float]] = []

    async def __call__(self, key: AdapterKey) -> Result:
        self.runs.append((key, asyncio.get_running_loop().time()))
        outcome = self.script.pop(0) if self.script else Result()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_a_failing_key_is_retried_with_backoff_and_does_not_stop_others() -> None:
    queue, reconcile = make_queue(), Recorder(RuntimeError("boom"), RuntimeError("boom"))
    before = passes("error")
    async with workers(queue, reconcile):
        queue.add(A)
        await asyncio.sleep(11)
        queue.add(B)
        await asyncio.sleep(100)
    assert [(key.name, round(at)) for key, at in reconcile.runs] == [("a", 0), ("a", 10), ("b", 11), ("a", 30)]
    assert passes("error") == before + 2


async def test_a_success_resets_the_backoff() -> None:
    queue, reconcile = make_queue(), Recorder(RuntimeError(), Result(requeue_after=5), RuntimeError())
    async with workers(queue, reconcile):
        queue.add(A)
        await asyncio.sleep(100)
    assert [round(at) for _, at in reconcile.runs] == [0, 10, 15, 25]


async def test_a_pass_with_a_refusal_counts_as_such_and_is_due_when_it_says() -> None:
    queue, reconcile = make_queue(), Recorder(Result(requeue_after=7, refused=True))
    before = passes("refused")
    async with workers(queue, reconcile):
        queue.add(A)
        await asyncio.sleep(100)
    assert [round(at) for _, at in reconcile.runs] == [0, 7]
    assert passes("refused") == before + 1


async def test_no_requeue_without_a_wish_for_it() -> None:
    queue, reconcile = make_queue(), Recorder()
    async with workers(queue, reconcile):
        queue.add(A)
        await asyncio.sleep(10_000)
    assert len(reconcile.runs) == 1


async def test_a_transient_error_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    queue, reconcile = make_queue(), Recorder(TransientError("the API server is away"))
    with caplog.at_level(logging.WARNING):
        async with workers(queue, reconcile):
            queue.add(A)
            await asyncio.sleep(100)
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.__dict__.items() >= {"key": "ns/a", "error": "the API server is away", "retry_in": 10.0}.items()
    assert len(reconcile.runs) == 2


async def test_an_unexpected_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    queue, reconcile = make_queue(), Recorder(KeyError("status"))
    async with workers(queue, reconcile):
        queue.add(A)
        await asyncio.sleep(1)
    assert caplog.records[0].exc_info is not None


async def test_a_pass_that_hangs_is_ended_and_retried() -> None:
    queue, starts = make_queue(), []

    async def hang_once(key: AdapterKey) -> Result:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) == 1:
            await asyncio.Event().wait()
        return Result()

    async with workers(queue, hang_once, seconds=60):
        queue.add(A)
        await asyncio.sleep(200)
    assert [round(at) for at in starts] == [0, 70]


async def test_a_pass_that_was_cut_off_is_told_before_the_key_runs_again() -> None:
    queue, told = make_queue(), []
    before = passes("timeout"), passes("error")

    async def hang(key: AdapterKey) -> Result:
        await asyncio.Event().wait()
        return Result()

    async def tell(key: AdapterKey, seconds: float) -> None:
        queue.add(key, Priority.URGENT)
        await asyncio.sleep(5)
        told.append((key.name, seconds, round(now())))

    async with workers(queue, hang, seconds=60, on_timeout=tell):
        queue.add(A)
        await asyncio.sleep(124)
    assert told == [("a", 60, 65)]
    assert (passes("timeout"), passes("error")) == (before[0] + 1, before[1])


@pytest.mark.parametrize("fails", [True, False])
async def test_a_hook_that_fails_or_hangs_neither_stops_the_worker_nor_the_retry(fails: bool) -> None:
    queue, starts = make_queue(), []

    async def hang(key: AdapterKey) -> Result:
        starts.append(round(now()))
        await asyncio.Event().wait()
        return Result()

    async def tell(key: AdapterKey, seconds: float) -> None:
        if fails:
            raise RuntimeError("the API server is away, too")
        await asyncio.Event().wait()

    async with workers(queue, hang, seconds=60, on_timeout=tell):
        queue.add(A)
        await asyncio.sleep(100)
    assert starts == [0, 70]


async def test_a_timeout_of_something_within_a_pass_is_an_error_and_no_cut_off_pass() -> None:
    queue = make_queue()

    async def tell(key: AdapterKey, seconds: float) -> None:
        pytest.fail("the pass was not cut off")

    before = passes("error")
    async with workers(queue, Recorder(TimeoutError("a request took too long")), on_timeout=tell):
        queue.add(A)
        await asyncio.sleep(100)
    assert passes("error") == before + 1


async def test_passes_that_hang_for_one_tenant_leave_a_worker_to_the_others() -> None:
    queue, done = WorkQueue[AdapterKey](workers=4), []

    async def reconcile(key: AdapterKey) -> Result:
        if key.namespace == "hangs":
            await asyncio.Event().wait()
        done.append(key.name)
        return Result()

    async with workers(queue, reconcile, count=4):
        for number in range(10):
            queue.add(AdapterKey("hangs", f"{number}"), Priority.URGENT)
        await asyncio.sleep(1)
        queue.add(A, Priority.ROUTINE)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert done == ["a"]


async def test_a_worker_beats_after_each_pass_whatever_became_of_it() -> None:
    queue, beats = make_queue(), []
    async with workers(queue, Recorder(RuntimeError("boom")), beat=lambda: beats.append(round(now()))):
        queue.add(A)
        await asyncio.sleep(100)
    assert beats == [0, 10]


async def test_workers_share_the_queue_but_never_a_key() -> None:
    queue, running, overlaps = make_queue(), set(), []

    async def slow(key: AdapterKey) -> Result:
        if key in running:
            overlaps.append(key)
        running.add(key)
        await asyncio.sleep(5)
        running.discard(key)
        return Result()

    async with workers(queue, slow, count=3):
        for _ in range(10):
            queue.add(A)
            queue.add(B)
            await asyncio.sleep(1)
        await asyncio.sleep(20)
    assert overlaps == []


async def test_a_cancelled_pass_is_not_counted_as_an_error() -> None:
    queue = make_queue()
    before = passes("cancelled"), passes("error")

    async def hang(key: AdapterKey) -> Result:
        await asyncio.Event().wait()
        return Result()

    async with workers(queue, hang):
        queue.add(A)
        await asyncio.sleep(1)
    assert (passes("cancelled"), passes("error")) == (before[0] + 1, before[1])


async def test_passes_that_wait_for_nothing_let_everybody_else_go_on() -> None:
    queue, keys = make_queue(), [AdapterKey("team-a", f"a-{number}") for number in range(100)]
    done: list[AdapterKey] = []

    async def settled(key: AdapterKey) -> Result:
        done.append(key)
        return Result()

    for key in keys:
        queue.add(key)
    async with workers(queue, settled):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(done) < 5, "such as whoever renews the lease"
        await asyncio.sleep(1)
    assert len(done) == 100
