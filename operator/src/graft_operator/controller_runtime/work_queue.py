"""A keyed, deduplicating work queue with priorities, delayed adds and per-key backoff, for one event loop.

The semantics are those of client-go's `workqueue`, with the order of `fair_order`:

* a key waiting in the queue is there once, however often it was added; a more urgent add raises it;
* a key never runs twice at once; adds during a run cause exactly one rerun, at the most urgent priority asked;
* `add_after` and `retry` deliver a key later; of several pending delays the earliest wins.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.controller_runtime.fair_order import FairOrder, Priority, QueueKey
from graft_operator.telemetry import metrics

K = TypeVar("K", bound=QueueKey)

_WAIT = {priority: metrics.QUEUE_WAIT_SECONDS.labels(priority.name.lower()) for priority in Priority}


@dataclass(frozen=True, slots=True)
class _Delay:
    timer: asyncio.TimerHandle
    priority: Priority


class WorkQueue(Generic[K]):
    """Keys to reconcile. Not thread-safe: every call must come from the loop's own thread.

    Each `get` must be answered by one `done`, on success and on failure alike.
    """

    def __init__(self, *, workers: int | None = None, backoff: Backoff | None = None) -> None:
        """`workers`: how many take from this queue. Of several, one is always left to other namespaces."""
        self._backoff = backoff or Backoff()
        self._order: FairOrder[K] = FairOrder(limit=None if workers is None else max(1, workers - 1))
        self._running: dict[K, Priority] = {}
        self._again: dict[K, Priority] = {}  # running keys that were added meanwhile
        self._delays: dict[K, _Delay] = {}
        self._failures: dict[K, int] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        for priority in Priority:
            metrics.QUEUE_DEPTH.labels(priority.name.lower()).set_function(partial(self._order.waiting, priority))

    def __len__(self) -> int:
        """Return the number of keys that wait for a run, without the delayed ones."""
        return len(self._order) + len(self._again)

    def add(self, key: K, priority: Priority = Priority.PROGRESS) -> None:
        """Make the key run as soon as its turn comes and no other run of it is under way."""
        if key in self._running:
            self._again[key] = min(priority, self._again.get(key, priority))
        else:
            self._put(key, priority)

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.PROGRESS) -> None:
        """Add the key in `seconds`. Of several pending delays of a key the earliest and the most urgent count."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        if (pending := self._delays.get(key)) is not None:
            if pending.timer.when() <= due and pending.priority <= priority:
                return
            pending.timer.cancel()
            due, priority = min(due, pending.timer.when()), min(priority, pending.priority)
        self._delays[key] = _Delay(loop.call_at(due, self._fire, key), priority)

    def retry(self, key: K) -> float:
        """Add the key after its backoff, as urgent as its run was, which grows until `forget`. Returns the seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key])
        metrics.RETRIES.inc()
        self.add_after(key, delay, self._running.get(key, Priority.PROGRESS))
        return delay

    def forget(self, key: K) -> None:
        """Reset the key's backoff. Call after a success."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the next key and mark it as running."""
        loop = asyncio.get_running_loop()
        while (taken := self._order.take(loop.time())) is None:
            await self._wait_for_a_key()
        key, priority, waited = taken
        self._running[key] = priority
        # This run sees the newest state, so a delay set by an earlier run has nothing left to say.
        if delay := self._delays.pop(key, None):
            delay.timer.cancel()
        _WAIT[priority].observe(waited)
        return key

    def done(self, key: K) -> None:
        """End the key's run. If it was added meanwhile, it waits for its next one from now on."""
        del self._running[key]
        self._order.end(key)
        if (priority := self._again.pop(key, None)) is not None:
            self._put(key, priority)
        # The end of a run may be what a key of its namespace waits for.
        self._wake_one()

    def _put(self, key: K, priority: Priority) -> None:
        self._order.put(key, priority, asyncio.get_running_loop().time())
        self._wake_one()

    def _fire(self, key: K) -> None:
        self.add(key, self._delays.pop(key).priority)

    async def _wait_for_a_key(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if woken.done() and not woken.cancelled():
                self._wake_one()  # whoever gives up passes on what it was woken for
            raise

    def _wake_one(self) -> None:
        while self._idle:
            woken = self._idle.popleft()
            if not woken.done():
                woken.set_result(None)
                return
