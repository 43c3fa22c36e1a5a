"""Leader election on a Lease: at most one process reconciles.

The algorithm is client-go's `tools/leaderelection`: a candidate takes over when the record has not changed for a
whole lease duration *as measured by the candidate's own monotonic clock*. Timestamps written by others are never
compared with a local clock, so clock skew between nodes cannot produce two leaders.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from graft_operator.engine.controller import TransientError
from graft_operator.telemetry import metrics

log = logging.getLogger(__name__)


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
    """The lease is held by another process, or could not be renewed in time. The process must exit."""


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
    """One candidate. Use `acquire`, then run `hold` beside the work, and finally `release`."""

    def __init__(
        self, store: LeaseStore, *, identity: str, now: Callable[[], datetime], timing: LeaseTiming | None = None
    ) -> None:
        self._store = store
        self._identity = identity
        self._now = now
        self._timing = timing or LeaseTiming()
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        log.info("waiting for the lease", extra={"identity": self._identity})
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._timing.retry_period)
        metrics.LEADER.set(1)
        log.info("lease acquired", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew for ever. Raises LeadershipLost as soon as leadership is no longer certain."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(self._timing.retry_period)
                deadline = self._renewed_at + self._timing.renew_deadline
                try:
                    async with asyncio.timeout_at(deadline):
                        renewed = await self._attempt()
                except TimeoutError:
                    renewed = False
                if self._seen is not None and self._seen.holder != self._identity:
                    raise LeadershipLost(f"the lease is now held by {self._seen.holder or 'nobody'}")
                if not renewed and loop.time() >= deadline:
                    raise LeadershipLost(f"no renewal for {self._timing.renew_deadline:g} s")
        finally:
            metrics.LEADER.set(0)

    async def release(self) -> None:
        """Give the lease back, so that the next process need not wait for its end. A failure is only logged."""
        if self._seen is None or self._seen.holder != self._identity:
            return
        try:
            await self._store.write(replace(self._seen, holder="", duration_seconds=1, renew_time=self._now()))
        except (LeaseTaken, TransientError) as error:
            log.warning("lease not released; it ends by itself", extra={"error": str(error)})
        else:
            log.info("lease released", extra={"identity": self._identity})
        self._seen = None

    async def _attempt(self) -> bool:
        """Try once to acquire or renew. Return whether the lease is ours, freshly written."""
        try:
            current = await self._store.read()
            self._observe(current)
            if current is not None and self._is_held_by_another(current):
                return False
            # The lease counts from before the write: others start counting when they see it, which is later.
            started = asyncio.get_running_loop().time()
            written = await self._store.write(self._claim(current))
        except LeaseTaken:
            return False
        except TransientError as error:
            log.warning("lease not reachable", extra={"error": str(error)})
            return False
        self._observe(written)
        self._renewed_at = started
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
