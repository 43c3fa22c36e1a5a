"""A keyed, deduplicating work queue with delayed adds and per-key backoff, for one event loop.

The semantics are those of client-go's `workqueue`:

* a key waiting in the queue is there once, however often it was added;
* a key never runs twice at once; adds during a run cause exactly one rerun;
* `add_after` and `retry` deliver a key later; of several pending delays the earliest wins.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

from graft_operator.engine.backoff import Backoff
from graft_operator.telemetry import metrics

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to reconcile. Not thread-safe: every call must come from the loop's own thread.

    Each `get` must be answered by one `done`, on success and on failure alike.
    """

    def __init__(self, *, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting_since: dict[K, float] = {}  # keys to be run: in _ready, or running and dirtied
        self._running: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Return the number of keys that wait for a run, without the delayed ones."""
        return len(self._waiting_since)

    def add(self, key: K) -> None:
        """Make the key run as soon as a worker is free and no other run of it is under way."""
        if key in self._waiting_since:
            return
        self._waiting_since[key] = asyncio.get_running_loop().time()
        metrics.QUEUE_DEPTH.set(len(self))
        if key not in self._running:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Add the key in `seconds`. An earlier pending delay of the same key stays; a later one is replaced."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(max(0.0, seconds), self._fire, key)

    def retry(self, key: K) -> float:
        """Add the key after its backoff, which grows until `forget`. Returns the delay in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key])
        metrics.RETRIES.inc()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the key's backoff. Call after a success."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the next key and mark it as running."""
        key = await self._ready.get()
        waited = asyncio.get_running_loop().time() - self._waiting_since.pop(key)
        self._running.add(key)
        # This run sees the newest state, so a delay set by an earlier run has nothing left to say.
        if timer := self._timers.pop(key, None):
            timer.cancel()
        metrics.QUEUE_DEPTH.set(len(self))
        metrics.QUEUE_WAIT_SECONDS.observe(waited)
        return key

    def done(self, key: K) -> None:
        """End the key's run. If it was added meanwhile, it goes to the end of the queue."""
        self._running.discard(key)
        if key in self._waiting_since:
            self._ready.put_nowait(key)

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
