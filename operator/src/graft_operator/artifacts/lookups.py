"""Runs blocking lookups of the registry: in a few threads, fairly between namespaces, each for a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from graft_operator.controller_runtime.controller import TransientError
from graft_operator.telemetry import metrics
from graft_registry.errors import Unavailable

log = logging.getLogger(__name__)

LOOKUP_SECONDS: Final = 20.0
"""A healthy store answers in hundredths of a second, a listing of thousands of keys in a few."""
AT_ONCE: Final = 8
AT_ONCE_PER_NAMESPACE: Final = 2
HUNG: Final = 16
"""Most threads that were given up and still hang in a request. With as many, no further lookup begins."""
HUNG_PER_NAMESPACE: Final = 2

T = TypeVar("T")
Stopped = Callable[[], bool]
Work = Callable[[Stopped], object]
"""Blocks. Is told whether it has been given up, and should end then."""
Done = Callable[[object], None]
"""Takes what the work has returned, or the exception that it ended with."""


LOW_PRIORITY: Final = frozenset({"progress", "audit"})
"""Operations that run after all others of their namespace: no decision waits for their answers."""


class RegistryUnavailable(TransientError):
    """The store can't be reached, times out, throttles, or has no such bucket."""


class Lookups(Protocol):
    """Runs work, and calls back on the event loop's thread."""

    def submit(self, namespace: str, operation: str, work: Work, done: Done) -> None:
        """Run ``work`` when its turn comes, and call ``done`` with its outcome, once."""

    async def run(self, namespace: str, operation: str, work: Callable[[Stopped], T], seconds: float) -> T:
        """Run ``work`` at once and return what it returns. Raises what it raises, and Unavailable after ``seconds``."""

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Call ``action`` in so many seconds, unless the function that is returned is called before."""

    def close(self) -> None:
        """Give up whatever runs or waits."""


class InlineLookups:
    """Runs each lookup in the caller's thread before it returns, and nothing later: for simulations and tests."""

    def submit(self, namespace: str, operation: str, work: Work, done: Done) -> None:
        """Run ``work`` now."""
        try:
            outcome = work(lambda: False)
        except Exception as error:  # noqa: BLE001 -- handed on
            outcome = error
        done(outcome)

    async def run(self, namespace: str, operation: str, work: Callable[[Stopped], T], seconds: float) -> T:
        """Run ``work`` now."""
        return work(lambda: False)

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Leave it to the next question."""
        return lambda: None

    def close(self) -> None:
        """Nothing runs."""


@dataclass(slots=True, eq=False)
class _Job:
    namespace: str
    operation: str
    work: Work
    done: Done | None
    seconds: float
    is_abandoned: bool = False
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def end(self, outcome: object) -> None:
        """Tell the outcome, unless it has been told."""
        done, self.done = self.done, None
        if done is not None:
            done(outcome)


class ThreadedLookups:
    """Runs work in threads of its own. For one event loop.

    A thread that doesn't come back in time is given up: its work counts as failed, and its place is free again. Such
    threads are few: beyond `HUNG` of them, and `HUNG_PER_NAMESPACE` of one namespace, what is submitted fails at once.
    """

    def __init__(self, *, seconds: float = LOOKUP_SECONDS) -> None:
        self._seconds = seconds
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._running: set[_Job] = set()
        self._writing: set[_Job] = set()
        self._hung: set[_Job] = set()
        self._is_closed = False

    def submit(self, namespace: str, operation: str, work: Work, done: Done) -> None:
        """Run ``work`` when a place is free, the namespaces taking turns; what nobody waits for after all else."""
        job = _Job(namespace, operation, work, done, self._seconds)
        queue = self._waiting.setdefault(namespace, deque())
        patient = (place for place, other in enumerate(queue) if other.operation in LOW_PRIORITY)
        queue.insert(len(queue) if operation in LOW_PRIORITY else next(patient, len(queue)), job)
        self._start_more()

    async def run(self, namespace: str, operation: str, work: Callable[[Stopped], T], seconds: float) -> T:
        """Run ``work`` now. Whoever is cancelled while waiting for it gives it up."""
        if self._has_hung_too_often(namespace):
            raise Unavailable("earlier requests to the registry have not been answered")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def done(result: object) -> None:
            if outcome.done():
                return
            if isinstance(result, BaseException):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)  # type: ignore[arg-type]  # what ``work`` has returned

        job = _Job(namespace, operation, work, done, seconds)
        self._start(job, self._writing)
        try:
            return await outcome
        finally:
            job.is_abandoned = True

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Call ``action`` on the event loop."""
        return asyncio.get_running_loop().call_later(seconds, action).cancel

    def close(self) -> None:
        """Give up whatever runs or waits. Threads end with the request that they are in; none holds up the process."""
        self._is_closed = True
        self._waiting.clear()
        for job in self._running | self._writing:
            job.is_abandoned, job.done = True, None
            if job.timer is not None:
                job.timer.cancel()
        self._running.clear()
        self._writing.clear()

    def _start_more(self) -> None:
        while not self._is_closed and len(self._running) < AT_ONCE and (job := self._next()) is not None:
            if self._has_hung_too_often(job.namespace):
                job.end(Unavailable(f"the registry has not answered earlier requests for {self._seconds:.0f} s"))
            else:
                self._start(job, self._running)

    def _next(self) -> _Job | None:
        """Take the next job of the namespace whose turn it is and that has not all its places taken."""
        taken = Counter(job.namespace for job in self._running)
        free = (name for name in self._waiting if taken[name] < AT_ONCE_PER_NAMESPACE)
        namespace = next(free, None)
        if namespace is None:
            return None
        queue = self._waiting[namespace]
        job = queue.popleft()
        if queue:
            self._waiting.move_to_end(namespace)
        else:
            del self._waiting[namespace]
        return job

    def _has_hung_too_often(self, namespace: str) -> bool:
        own = sum(job.namespace == namespace for job in self._hung)
        return own >= HUNG_PER_NAMESPACE or len(self._hung) >= HUNG

    def _start(self, job: _Job, among: set[_Job]) -> None:
        loop = asyncio.get_running_loop()
        among.add(job)
        job.timer = loop.call_later(job.seconds, self._give_up, job)

        def run() -> None:
            try:
                outcome = measured(job.operation, job.work, lambda: job.is_abandoned)
            except Exception as error:  # noqa: BLE001 -- handed on
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is there to hear it
                loop.call_soon_threadsafe(self._finish, job, outcome)

        threading.Thread(target=run, name=f"registry-{job.operation}", daemon=True).start()

    def _finish(self, job: _Job, outcome: object) -> None:
        if job.timer is not None:
            job.timer.cancel()
        for jobs in (self._running, self._writing, self._hung):
            jobs.discard(job)
        try:
            job.end(outcome)
        finally:
            self._start_more()

    def _give_up(self, job: _Job) -> None:
        job.is_abandoned = True
        self._running.discard(job)
        self._writing.discard(job)
        self._hung.add(job)
        metrics.REGISTRY_CALLS.labels(job.operation, "unavailable").inc()
        log.warning("the registry does not answer", extra={"namespace": job.namespace, "operation": job.operation})
        try:
            job.end(Unavailable(f"the registry has not answered for {job.seconds:.0f} s"))
        finally:
            self._start_more()


def measured(operation: str, work: Work, stopped: Stopped) -> object:
    """Run ``work`` and count how it ended, unless it has been given up meanwhile: that was counted already."""
    result, started = "error", time.monotonic()
    try:
        outcome = work(stopped)
    except Unavailable:
        result = "unavailable"
        raise
    else:
        result = "success"
        return outcome
    finally:
        if not stopped():
            metrics.REGISTRY_CALLS.labels(operation, result).inc()
            metrics.REGISTRY_CALL_SECONDS.labels(operation).observe(time.monotonic() - started)
