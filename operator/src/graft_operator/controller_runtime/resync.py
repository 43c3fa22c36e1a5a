"""The periodic resync: enqueue every object now and then, for what no watch tells of: time, and what others forget.

The resync only enqueues; there is one code path for reconciling.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import random
from typing import TypeVar

from graft_operator.controller_runtime.fair_order import Priority, QueueKey
from graft_operator.controller_runtime.work_queue import WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K", bound=QueueKey)


async def resync_forever(
    queue: WorkQueue[K],
    keys: Callable[[], Iterable[K]],
    *,
    every: float,
    beat: Callable[[], None],
    jitter: Callable[[], float] = random,
) -> None:
    """Enqueue all keys once in `every` seconds, ±10 %, spread over that time, and call `beat` once per turn.

    `jitter` draws from [0, 1).
    """
    while True:
        beat()
        known = list(keys())
        log.info("resync", extra={"keys": len(known)})
        for position, key in enumerate(known):
            queue.add_after(key, every * (position + 1) / len(known), Priority.ROUTINE)
        await asyncio.sleep(every * (0.9 + 0.2 * jitter()))
