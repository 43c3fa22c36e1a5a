"""Workers: take a key, reconcile it, decide when it runs again. One failing key never stops another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from graft_operator.engine.work_queue import WorkQueue
from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)

RECONCILE_TIMEOUT_SECONDS = 120.0
"""Far above a healthy pass (tens of requests), far below what an on-call engineer would wait for."""


class TransientError(Exception):
    """A failure that is expected to pass by itself. Retried with backoff and logged without a traceback."""


class ReconcileKey(Protocol):
    """What the engine needs of a key, besides being hashable."""

    kind: ClassVar[str]

    def __hash__(self) -> int: ...


K = TypeVar("K", bound=ReconcileKey)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one successful pass."""

    requeue_after: float | None = None
    """Seconds until the key should run again even without an event; None to wait for events and the resync."""
    refused: bool = False
    """Whether the API server took only a part of what was to be done. The rest is retried by ``requeue_after``."""


async def run_worker(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[Result]],
    *,
    timeout: float = RECONCILE_TIMEOUT_SECONDS,  # noqa: ASYNC109 -- per pass, not for this endless call
) -> None:
    """Reconcile keys for ever, one at a time. Run several of these for concurrency; cancel to stop.

    A pass that raises, or takes longer than `timeout` seconds, is retried with the queue's backoff.
    """
    while True:
        key = await queue.get()
        try:
            await _run_once(queue, key, reconcile, timeout)
        finally:
            queue.done(key)


async def _run_once(queue: WorkQueue[K], key: K, reconcile: Callable[[K], Awaitable[Result]], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    outcome = "cancelled"
    try:
        async with asyncio.timeout(seconds):
            result = await reconcile(key)
    except TransientError as error:
        outcome = "transient"
        delay = queue.retry(key)
        log.warning("reconcile will be retried", extra=_fields(key, error=str(error), retry_in=round(delay, 1)))
    except Exception as error:
        outcome = "error"
        delay = queue.retry(key)
        log.exception("reconcile failed", extra=_fields(key, error=repr(error), retry_in=round(delay, 1)))
    else:
        outcome = "refused" if result.refused else "success"
        queue.forget(key)
        if result.requeue_after is not None:
            queue.add_after(key, result.requeue_after)
    finally:
        metrics.RECONCILES.labels(key.kind, outcome).inc()
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(loop.time() - started)


def _fields(key: ReconcileKey, **fields: object) -> dict[str, object]:
    return {"kind": key.kind, "key": str(key), **fields}
