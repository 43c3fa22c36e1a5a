"""A lock per cache, so that only one command at a time changes the cluster."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from graft_cluster.cache import Cache
from graft_cluster.steps import say


@contextmanager
def only_one(cache: Cache) -> Iterator[None]:
    """Wait for whoever else is changing this cluster. The kernel frees the lock."""
    with (cache.folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("… waiting for another run of this program to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
