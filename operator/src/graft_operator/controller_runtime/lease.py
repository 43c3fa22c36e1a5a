"""A Lease as the leader election sees it: the record, where it is stored, and its times."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from graft_operator.controller_runtime.controller import TransientError


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


class LeaseUnreachable(TransientError):
    """The Lease can't be read or written now: no answer in time, or a refusal, as while rights are being changed."""


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

    @property
    def arrival(self) -> float:
        """What lies between the last moment that a write may begin at and the first one that others may take over at:
        the time that a request which has begun may take to arrive."""
        return self.duration - self.renew_deadline

    def __post_init__(self) -> None:
        if not self.retry_period < self.renew_deadline < self.duration:
            raise ValueError("lease timing needs retry_period < renew_deadline < duration")
