"""A Lease in memory, and those who want it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.leader import LeaderElector
from graft_operator.controller_runtime.lease import LeaseRecord, LeaseTaken, LeaseTiming

TIMING = LeaseTiming(duration=15, renew_deadline=10, retry_period=2)


class MemoryLease:
    """The API server's one Lease, with optimistic locking."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.renewals: list[str] = []
        self._version = 0

    def stored(self) -> LeaseRecord:
        """What is stored."""
        assert self.record is not None
        return self.record

    def store(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record if it was read at the version that is stored."""
        if record.version != (self.record.version if self.record else ""):
            raise LeaseTaken("not at this version")
        return self.edit(record)

    def edit(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record whatever there is."""
        self._version += 1
        self.renewals.append(record.holder)
        self.record = replace(record, version=str(self._version))
        return self.record


class Link:
    """One process's way to the Lease.

    `away` makes every request fail, `hang` makes it wait for ever, `refusal` is raised instead. A request arrives after
    `there` seconds, and its answer `back` seconds later: one that is cut off in between has been carried out.
    """

    def __init__(self, lease: MemoryLease) -> None:
        self.lease = lease
        self.away = self.hang = False
        self.refusal: Exception | None = None
        self.there = self.back = 0.005

    async def read(self) -> LeaseRecord | None:
        await self._arrive()
        record = self.lease.record
        await asyncio.sleep(self.back)
        return record

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        await self._arrive()
        stored = self.lease.store(record)
        await asyncio.sleep(self.back)
        return stored

    async def _arrive(self) -> None:
        await asyncio.sleep(self.there)
        if self.hang:
            await asyncio.Event().wait()
        if self.away:
            raise TransientError("no answer")
        if self.refusal is not None:
            raise self.refusal


def elector(lease: MemoryLease | Link, identity: str, *, skew: timedelta = timedelta()) -> LeaderElector:
    link = lease if isinstance(lease, Link) else Link(lease)
    return LeaderElector(link, identity=identity, now=lambda: datetime(2030, 1, 1, tzinfo=UTC) + skew, timing=TIMING)


async def held_by_one(lease: MemoryLease | Link) -> LeaderElector:
    leader = elector(lease, "one")
    await leader.acquire()
    return leader


def now() -> float:
    return asyncio.get_running_loop().time()
