"""Leader election on a Lease: at most one process reconciles.

The algorithm is client-go's `tools/leaderelection`: a candidate takes over when the record has not changed for a
whole lease duration *as measured by the candidate's own monotonic clock*. Timestamps written by others are never
compared with a local clock, so clock skew between nodes cannot produce two leaders.

A leader that has been frozen for a minute wakes up in the middle of a pass and does not know it yet. So each write
passes a fence: `LeaderElector.writing` lets it begin only while the lease is surely ours, and the lease is given back
only when every write has ended. A leader that could not renew in time waits behind that fence, and goes on if nobody
has taken its place.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from graft_operator.controller_runtime.controller import TransientError
from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Contents of a Lease. An empty `holder` means released."""

    holder: str
    duration_seconds: int
    acquire_time: datetime
    renew_time: datetime
    transitions: int
    version: str = ""
    """resourceVersion that this record was read at; empty for one that is not stored yet."""


class LeaseTaken(Exception):
    """Someone else wrote the Lease between our read and our write."""


class LeadershipLost(Exception):
    """Another process holds the lease, or has held it meanwhile. The process must exit."""


class NotLeader(TransientError):
    """A write was held back, because the lease is not surely ours. Whoever holds it will decide anew."""


class LeaseStore(Protocol):
    """Where the record lives. Reads and writes may raise `TransientError`."""

    async def read(self) -> LeaseRecord | None:
        """Return the stored record, or None if there is no Lease."""

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store the record if the Lease is still at `record.version`. Raises LeaseTaken if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Seconds. Defaults are those of kube-controller-manager (15/10/2), whose failover is about 17 s."""

    duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry_period < self.renew_deadline < self.duration:
            raise ValueError("lease timing needs retry_period < renew_deadline < duration")


class LeaderElector:
    """One candidate. Use `acquire`, then run `hold` beside the work, and finally `release`.

    Every method must be called from the loop's thread, but for `is_leader`, `deadline` and `writing`.
    """

    def __init__(
        self, store: LeaseStore, *, identity: str, now: Callable[[], datetime], timing: LeaseTiming | None = None
    ) -> None:
        self._store = store
        self._identity = identity
        self._now = now
        self._timing = timing or LeaseTiming()
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._renewed_at = float("-inf")
        self._surely_ours = False
        self._told_leader = True
        self._clock: Callable[[], float] = lambda: float("inf")
        self._writes = 0
        self._writes_lock = threading.Lock()

    def deadline(self) -> float:
        """Return the loop time until which the lease is surely ours; -inf if it isn't.

        Nobody else takes it over for another `duration - renew_deadline` seconds: the time that a request which has
        begun before may take to arrive.
        """
        return self._renewed_at + self._timing.renew_deadline if self._surely_ours else float("-inf")

    def is_leader(self, within: float = 0.0) -> bool:
        """Return whether the lease is surely ours for another `within` seconds, renewed or not."""
        return self._clock() + within < self.deadline()

    @contextmanager
    def writing(self, within: float = 0.0) -> Iterator[None]:
        """Do a write inside of this, in whichever thread. Raises NotLeader where `is_leader(within)` doesn't hold."""
        with self._writes_lock:
            if not self.is_leader(within):
                raise NotLeader("the lease is not surely ours any more; nothing is written")
            self._writes += 1
        try:
            yield
        finally:
            with self._writes_lock:
                self._writes -= 1

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        self._clock = asyncio.get_running_loop().time
        log.info("waiting for the lease", extra={"identity": self._identity})
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._timing.retry_period)
        metrics.LEADER.set(1)
        log.info("lease acquired", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew for ever. Raises LeadershipLost as soon as somebody else is known to have held the lease.

        One that can't be renewed in time, for want of an API server or of a processor, is not surely ours: no write
        begins until it is renewed. client-go's leaders end then, since nothing holds their writes back. If nobody has
        taken it by the next renewal, nobody else has written either, and a restart would only cost more of the same.
        """
        term = self._seen.transitions if self._seen is not None else 0
        try:
            while True:
                await asyncio.sleep(self._timing.retry_period)
                with contextlib.suppress(TimeoutError):
                    # One that gets no answer leaves time for another one, over another connection.
                    async with asyncio.timeout(self._timing.renew_deadline / 2):
                        await self._attempt()
                if self._seen is not None and self._seen.holder != self._identity:
                    raise LeadershipLost(f"the lease is now held by {self._seen.holder or 'nobody'}")
                if self._seen is not None and self._seen.transitions != term:
                    raise LeadershipLost("somebody else has held the lease meanwhile")
                self._tell()
        finally:
            metrics.LEADER.set(0)

    def _tell(self) -> None:
        """Log, once, that the lease is not surely ours any more, and that it is again."""
        is_leader = self.is_leader()
        if is_leader != self._told_leader:
            overdue = f"it could not be renewed for {self._timing.renew_deadline:g} s; nothing is written until it is"
            log.warning("the lease is ours again" if is_leader else f"the lease is not surely ours: {overdue}")
            metrics.LEADER.set(is_leader)
        self._told_leader = is_leader

    async def release(self) -> None:
        """Give the lease back, so that the next process need not wait for its end. A failure is only logged.

        No write begins any more. If those under way have not ended while the lease is surely ours, it is kept.
        """
        if self._seen is None or self._seen.holder != self._identity:
            return
        seconds = max(0.0, self.deadline() - asyncio.get_running_loop().time())
        self._surely_ours = False
        held, self._seen = self._seen, None
        if not await self._writes_have_ended(seconds):
            log.warning("lease not released, because something is still being written; it ends by itself")
            return
        try:
            await self._store.write(replace(held, holder="", duration_seconds=1, renew_time=self._now()))
        except (LeaseTaken, TransientError) as error:
            log.warning("lease not released; it ends by itself", extra={"error": str(error)})
        else:
            log.info("lease released", extra={"identity": self._identity})

    async def _writes_have_ended(self, seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + seconds
        while self._writes and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)  # they may end in threads, which set no event of the loop
        return not self._writes

    async def _attempt(self) -> bool:
        """Try once to acquire or renew. Return whether the lease is ours, freshly written."""
        try:
            current = await self._store.read()
            self._observe(current)
            if current is not None and self._is_held_by_another(current):
                self._surely_ours = False
                return False
            # The lease counts from before the write: others start counting when they see it, which is later.
            started = asyncio.get_running_loop().time()
            written = await self._store.write(self._claim(current))
        except LeaseTaken:
            self._surely_ours = False
            return False
        except TransientError as error:
            log.warning("lease not reachable", extra={"error": str(error)})
            return False
        self._observe(written)
        self._renewed_at, self._surely_ours = started, True
        return True

    def _observe(self, record: LeaseRecord | None) -> None:
        if record is None or self._seen is None or record.version != self._seen.version:
            self._seen = record
            self._seen_at = asyncio.get_running_loop().time()

    def _is_held_by_another(self, record: LeaseRecord) -> bool:
        if record.holder in ("", self._identity):
            return False
        return asyncio.get_running_loop().time() < self._seen_at + record.duration_seconds

    def _claim(self, current: LeaseRecord | None) -> LeaseRecord:
        now = self._now()
        renewal = current is not None and current.holder == self._identity
        return LeaseRecord(
            holder=self._identity,
            duration_seconds=self._timing.duration,
            acquire_time=current.acquire_time if current is not None and renewal else now,
            renew_time=now,
            transitions=(current.transitions + (not renewal)) if current is not None else 0,
            version=current.version if current is not None else "",
        )
