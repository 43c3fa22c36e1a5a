"""Workers: take a key, reconcile it, decide when it runs again. One failing key never stops another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeVar

from graft_operator.controller_runtime.fair_order import Priority, QueueKey
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.telemetry import metrics, tracing

log = logging.getLogger(__name__)

RECONCILE_TIMEOUT_SECONDS: Final = 50.0
"""Far above what a healthy pass takes, a few requests. With the hook below it is a minute until the status says so."""

TIMEOUT_HOOK_SECONDS: Final = 10.0
"""What `on_timeout` may take: a few requests. What is down may well be what it writes to."""


class TransientError(Exception):
    """A failure that is expected to pass by itself. Retried with backoff and logged without a traceback."""


class ReconcileKey(QueueKey, Protocol):
    """What a worker needs of a key, besides what the queue does."""

    kind: ClassVar[str]


K = TypeVar("K", bound=ReconcileKey)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one successful pass."""

    requeue_after: float | None = None
    """Seconds until the key should run again even without an event; None to wait for events and the resync."""
    requeue_priority: Priority = Priority.PROGRESS
    """How urgent that run is."""
    refused: bool = False
    """Whether the API server took only a part of what was to be done. The rest is retried by ``requeue_after``."""


Reconcile = Callable[[K], Awaitable[Result]]
OnTimeout = Callable[[K, float], Awaitable[None]]


async def run_worker(
    queue: WorkQueue[K],
    reconcile: Reconcile[K],
    *,
    timeout: float = RECONCILE_TIMEOUT_SECONDS,  # noqa: ASYNC109 -- per pass, not for this endless call
    on_timeout: OnTimeout[K] | None = None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Reconcile keys for ever, one at a time. Run several of these for concurrency; cancel to stop.

    A pass that raises, or takes longer than `timeout` seconds, is retried with the queue's backoff. Of one that took
    too long `on_timeout(key, timeout)` may tell whoever waits for it: it has been cancelled by then, the key does not
    run again before the hook has ended, and what the hook raises is only logged. `beat` is called after each pass.
    """
    while True:
        key = await queue.get()
        try:
            with tracing.one_pass(key.kind, str(key)) as span:
                span.result = await _run_once(queue, key, reconcile, timeout, on_timeout)
        finally:
            queue.done(key)
        beat()
        # A pass over what is settled waits for nothing, and neither does the next key: ten thousand of them in a row
        # would hold the loop for long enough to lose the lease.
        await asyncio.sleep(0)


async def _run_once(
    queue: WorkQueue[K], key: K, reconcile: Reconcile[K], seconds: float, on_timeout: OnTimeout[K] | None
) -> str:
    """Make one pass; return its result, as the metrics have it."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    outcome = "cancelled"
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            result = await reconcile(key)
        outcome = "refused" if result.refused else "success"
        queue.forget(key)
        if result.requeue_after is not None:
            queue.add_after(key, result.requeue_after, result.requeue_priority)
    except TransientError as error:
        outcome = "transient"
        delay = queue.retry(key)
        log.warning("reconcile will be retried", extra=_fields(key, error=str(error), retry_in=round(delay, 1)))
    except Exception as error:
        outcome = "timeout" if limit.expired() else "error"
        delay = queue.retry(key)
        log.exception("reconcile failed", extra=_fields(key, error=repr(error), retry_in=round(delay, 1)))
    finally:
        metrics.RECONCILES.labels(key.kind, outcome).inc()
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(loop.time() - started)
    if outcome == "timeout" and on_timeout is not None:
        await _tell_timeout(key, seconds, on_timeout)
    return outcome


async def _tell_timeout(key: K, seconds: float, on_timeout: OnTimeout[K]) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_HOOK_SECONDS):
            await on_timeout(key, seconds)
    except Exception as error:
        log.exception("not told that a pass was cut off", extra=_fields(key, error=repr(error)))


def _fields(key: ReconcileKey, **fields: object) -> dict[str, object]:
    return {"kind": key.kind, "key": str(key), **fields}
