"""Leader election on a Lease: at most one process reconciles.

The algorithm is client-go's `tools/leaderelection`: a candidate takes over when the record has not changed for a
whole lease duration *as measured by the candidate's own monotonic clock*. Timestamps written by others are never
compared with a local clock, so clock skew between nodes cannot produce two leaders.

A leader that has been frozen for a minute wakes up in the middle of a pass and does not know it yet. So each write
passes a fence: `LeaderElector.writing` lets it begin only while the lease is surely ours, `requesting` ends one that
is still under way when others are about to take over, and the lease is given back only when every write has ended.
What is left is a process that is frozen between the fence and the first byte of a request, by less than a network
delay: no leader that writes to somebody else's server can rule that out.

A leader that could not renew in time waits behind the fence, and goes on if nobody has taken its place. It leaves
others the time for that: renewals of which it does not hear would otherwise keep everybody from leading.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.lease import LeaseRecord, LeaseStore, LeaseTaken, LeaseTiming, LeaseUnreachable
from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.05
_T = TypeVar("_T")


class LeadershipLost(Exception):
    """Another process holds the lease, or has held it meanwhile. The process must exit."""


class NotLeader(TransientError):
    """A write was held back, because the lease is not surely ours. Whoever holds it will decide anew."""


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
        self._renewed_version = ""
        self._surely_ours = False
        self._is_ending = False
        self._was_leader = True
        self._clock: Callable[[], float] = lambda: float("inf")
        self._writes = 0
        self._writes_lock = threading.Lock()
        self._limits: set[asyncio.Timeout] = set()
        self._cut_off_at = float("-inf")

    def deadline(self) -> float:
        """Return the loop time until which a write may begin; -inf if none may.

        Nobody else takes the lease over for another `LeaseTiming.arrival` seconds.
        """
        return self._renewed_at + self._timing.renew_deadline if self._surely_ours else float("-inf")

    def is_leader(self) -> bool:
        """Return whether the lease is surely ours, and not about to be given back."""
        return not self._is_ending and self._clock() < self.deadline()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do a write inside of this, in whichever thread. Raises NotLeader where `is_leader` doesn't hold."""
        with self._writes_lock:
            if not self.is_leader():
                raise NotLeader("the lease is not surely ours any more; nothing is written")
            self._writes += 1
        try:
            yield
        finally:
            with self._writes_lock:
                self._writes -= 1

    @asynccontextmanager
    async def requesting(self) -> AsyncIterator[None]:
        """Do a write of the loop's inside of this: as `writing`, and it is cut off before somebody else may lead.

        Raises NotLeader then, too. Whether it was carried out is not known.
        """
        with self.writing():
            limit = asyncio.timeout_at(self._last_moment())
            try:
                async with limit:
                    self._limits.add(limit)
                    try:
                        yield
                    finally:
                        self._limits.discard(limit)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                self._cut_off_at = self._clock()
                raise NotLeader("the lease was not renewed while something was written, which was cut off") from error
            except asyncio.CancelledError:
                self._cut_off_at = self._clock()
                raise

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        self._clock = asyncio.get_running_loop().time
        log.info("waiting for the lease", extra={"identity": self._identity})
        while not await self._claim():  # noqa: ASYNC110 -- only the server knows
            await asyncio.sleep(self._timing.retry_period)
        metrics.LEADER.set(1)
        log.info("lease acquired", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew for ever. Raises LeadershipLost as soon as somebody else is known to hold it, or to have held it.

        One that can't be renewed in time, for want of an API server or of a processor, is not surely ours: no write
        begins until it is renewed. client-go's leaders end then, since nothing holds their writes back. If nobody has
        taken it by the next renewal, nobody else has written either, and a restart would only cost more of the same.
        """
        try:
            while True:
                await asyncio.sleep(self._timing.retry_period)
                await self._renew()
                self._report_change()
        finally:
            metrics.LEADER.set(0)

    async def end_writing(self) -> None:
        """Let no write begin any more, and wait for those under way, for as long as the lease is surely ours."""
        deadline = self.deadline()
        self._is_ending = True
        while self._writes and self._clock() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)  # they may end in threads, which set no event of the loop

    async def release(self) -> None:
        """Give the lease back, so that the next process need not wait for its end. A failure is only logged.

        It is kept where something of ours may still arrive.
        """
        if self._seen is None or self._seen.holder != self._identity:
            return
        await self.end_writing()
        self._surely_ours = False
        held, self._seen = self._seen, None
        if self._writes or self._clock() < self._cut_off_at + self._timing.arrival:
            log.warning("lease not released, because something is still being written; it ends by itself")
            return
        try:
            await self._store.write(replace(held, holder="", duration_seconds=1, renew_time=self._now()))
        except (LeaseTaken, TransientError) as error:
            log.warning("lease not released; it ends by itself", extra={"error": str(error)})
        else:
            log.info("lease released", extra={"identity": self._identity})

    async def _claim(self) -> bool:
        """Take the lease if it is free. Return whether it is ours now."""
        try:
            current = await self._read()
            if self._is_held_by_another():
                return False
            await self._write(self._claimed(current))
        except LeaseTaken:
            return False
        except TransientError as error:
            log.warning("lease not reachable", extra={"error": str(error)})
            return False
        return True

    async def _renew(self) -> None:
        """Renew the lease if it can be reached. Raises LeadershipLost."""
        try:
            current = await self._read()
            if current is None or current.holder != self._identity:
                self._surely_ours = False
                holder = (current and current.holder) or "nobody"
                raise LeadershipLost(f"the lease is not ours any more; it is held by {holder}")
            if not self._is_turn_of_others(current):
                await self._write(replace(current, renew_time=self._now()))
        except LeaseTaken:
            pass  # by whom, the next look tells
        except TransientError as error:
            log.warning("lease not reachable", extra={"error": str(error)})

    def _is_turn_of_others(self, current: LeaseRecord) -> bool:
        """Whether others, who saw a renewal of ours that we heard nothing of, must have the time to take over.

        A leader whose requests arrive and whose answers don't would renew for ever, and never lead.
        """
        now = self._clock()
        is_overdue = now >= self._renewed_at + self._timing.renew_deadline
        had_their_turn = now >= self._seen_at + self._timing.duration + 2 * self._timing.retry_period
        return is_overdue and current.version != self._renewed_version and not had_their_turn

    def _report_change(self) -> None:
        """Log, once, that the lease is not surely ours any more, and that it is again."""
        is_leader = self.is_leader()
        if is_leader != self._was_leader and not self._is_ending:
            overdue = f"it could not be renewed for {self._timing.renew_deadline:g} s; nothing is written until it is"
            log.warning("the lease is ours again" if is_leader else f"the lease is not surely ours: {overdue}")
            metrics.LEADER.set(is_leader)
        self._was_leader = is_leader

    async def _read(self) -> LeaseRecord | None:
        """Return the record, and remember since when it is as it is."""
        record = await self._limited(self._store.read())
        self._observe(record)
        return record

    async def _write(self, record: LeaseRecord) -> None:
        # The lease counts from before the write: others start counting when they see it, which is later.
        started = self._clock()
        try:
            written = await self._limited(self._store.write(record))
        except LeaseTaken:
            self._surely_ours = False
            raise
        self._observe(written)
        self._renewed_at, self._renewed_version, self._surely_ours = started, written.version, True
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(self._last_moment())

    async def _limited(self, request: Awaitable[_T]) -> _T:
        """Await a request for half of the time: one that gets no answer leaves some for the next one."""
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                return await request
        except TimeoutError as error:
            raise LeaseUnreachable("no answer in time") from error

    def _last_moment(self) -> float:
        """The loop time at which a write that is still under way is cut off, in time for what is on the wire."""
        return self._renewed_at + self._timing.duration - self._timing.arrival / 2

    def _observe(self, record: LeaseRecord | None) -> None:
        """Remember a record since when it is. One that was deleted ends as it would have: its holder may not know."""
        if record is None and self._is_held_by_another():
            return
        if record is None or self._seen is None or record.version != self._seen.version:
            self._seen, self._seen_at = record, self._clock()

    def _is_held_by_another(self) -> bool:
        if self._seen is None or self._seen.holder in ("", self._identity):
            return False
        return self._clock() < self._seen_at + self._seen.duration_seconds

    def _claimed(self, current: LeaseRecord | None) -> LeaseRecord:
        now = self._now()
        return LeaseRecord(
            holder=self._identity,
            duration_seconds=self._timing.duration,
            acquire_time=now,
            renew_time=now,
            transitions=current.transitions + (current.holder != self._identity) if current is not None else 0,
            version=current.version if current is not None else "",
        )
