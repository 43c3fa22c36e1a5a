"""The periodic resync: enqueue every object now and then, since a watch may lose events.

After a `410 Gone` the event source lists anew and never reports what was deleted meanwhile, so events alone are not
enough. The resync only enqueues; there is one code path for reconciling.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from random import random
from typing import TypeVar

from graft_operator.engine.fair_order import Priority, QueueKey
from graft_operator.engine.work_queue import WorkQueue

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
SPREAD_SECONDS = 10.0
"""Keys of one resync are added over this time."""

K = TypeVar("K", bound=QueueKey)


async def resync_forever(
    queue: WorkQueue[K],
    list_keys: Callable[[], Awaitable[Iterable[K]]],
    *,
    every: float,
    beat: Callable[[], None],
    jitter: Callable[[], float] = random,
) -> None:
    """Enqueue all keys each `every` seconds, ±10 %, and call `beat` once per turn, failed or not.

    `jitter` draws from [0, 1).

    A listing that fails, for whatever reason, is tried again in 30 s. An API server that is away for an hour, or a
    namespace that may not be listed any more, must not get the operator restarted: it works by events meanwhile.
    """
    pause = every
    while True:
        beat()
        await asyncio.sleep(pause * (0.9 + 0.2 * jitter()))
        try:
            keys = list(await list_keys())
        except Exception as error:
            log.exception("resync will be retried", extra={"error": str(error)})
            pause = min(RETRY_SECONDS, every)
            continue
        pause = every
        log.info("resync", extra={"keys": len(keys)})
        for position, key in enumerate(keys):
            queue.add_after(key, min(SPREAD_SECONDS, every) * position / len(keys), Priority.ROUTINE)
