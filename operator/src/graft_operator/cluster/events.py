"""Events of events.k8s.io/v1, which are posted when nothing more urgent is to be written.

An event is a courtesy: it must neither hold up the pass that tells it, nor take the API server's time from Jobs and
statuses. So events are posted in the background, one after the other and in their order, as client-go's recorder does.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from graft_operator.cluster.errors import ClusterError
from graft_operator.cluster.resources import EVENTS

log = logging.getLogger(__name__)

NOTE_LIMIT: Final = 1024
"""Limit of `note` in events.k8s.io/v1, in bytes."""
MOST_WAITING: Final = 10_000
"""Some 20 MiB. What comes beyond them is left out, and said in the log."""
FLUSH_SECONDS: Final = 2.0
"""How long those that still wait may take when the process ends: a successor waits for the lease meanwhile."""

Event = Mapping[str, Any]


class EventPoster:
    """Events that wait to be posted. `run` posts them, for as long as it runs."""

    def __init__(self, post: Callable[[Event], Awaitable[None]]) -> None:
        self._post = post
        self._waiting: deque[Event] = deque()
        self._is_there = asyncio.Event()

    def put(self, event: Event) -> None:
        """Have an event posted after those before it."""
        if len(self._waiting) >= MOST_WAITING:
            log.warning("too many events wait, one is left out", extra={"reason": event["reason"]})
            return
        self._waiting.append(event)
        self._is_there.set()

    async def run(self) -> None:
        """Post what comes, until cancelled."""
        while True:
            await self._is_there.wait()
            await self._post_all()

    async def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Post what still waits, for as long as that may take."""
        try:
            async with asyncio.timeout(seconds):
                await self._post_all()
        except TimeoutError:
            log.warning("events are not posted", extra={"count": len(self._waiting)})

    async def _post_all(self) -> None:
        while self._waiting:
            event = self._waiting[0]
            try:
                await self._post(event)
            except ClusterError as error:
                log.warning("event not posted", extra={"reason": event["reason"], "error": str(error)})
            self._waiting.popleft()  # one whose posting is cut off is posted by whoever flushes
        self._is_there.clear()


def event_about(
    regarding: Mapping[str, Any], *, reason: str, message: str, action: str, warning: bool
) -> dict[str, Any]:
    """Return an event, of now, about the object `regarding`."""
    metadata = regarding["metadata"]
    # Events of objects outside any namespace belong to `default`, by convention of client-go.
    namespace = metadata.get("namespace", "default")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{metadata['name'][:200]}.{uuid4().hex[:16]}", "namespace": namespace},
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": namespace,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "action": action,
        "note": message.encode()[:NOTE_LIMIT].decode(errors="ignore"),
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
