"""What is kept of the state document of a serving agent, `graft.dev/agent/v1`, as defined in docs/contracts.md §7.

Some of it is kept for as long as the pod lives, of every adapter on every pod, so it is compact: what no plan reads
is left out.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json

EngineStatus = Literal["Starting", "Ready", "Down"]
LoadStatus = Literal["Pending", "Fetching", "Loading", "Proving", "Proven", "Refused", "Failing", "Draining"]
"""The words that this release knows. An agent of a newer one may have others: they are read, and nothing follows."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
Bucket = Annotated[int, Meta(ge=-256, le=256)]
"""Of 0.2 ns to 170 years."""
Name = Annotated[str, Meta(min_length=1, max_length=253)]
Word = Annotated[str, Meta(max_length=128)]
Moment = Annotated[datetime, Meta(tz=True)]


_NAME: Final = attrgetter("name")
_HISTOGRAM: Final = json.Decoder(dict[Bucket, Count])


class Document(Struct, frozen=True, gc=False, rename="camel"):
    """Fields that we don't know are ignored: the agent may be newer than the operator."""


class BaseIdentity(Document, frozen=True):
    """The base that the pod serves."""

    name: Name
    digest: Word


class EngineState(Document, frozen=True):
    """The inference engine beside the agent."""

    state: Word
    """One of `EngineStatus`, or a newer word."""
    starts: Count = 0
    message: str = ""


class Share(Document, frozen=True):
    """One version of an alias's active route."""

    number: Count
    weight: Count


class EchoedDecision(Document, frozen=True):
    """The decision that the agent carries out for an adapter, as it stands in the wanted set that it has applied."""

    target: Count
    weight: Count
    previous: Count | None = None


class Measurement(Document, frozen=True):
    """Answers of one version since its alias's route last changed."""

    requests: Count = 0
    errors: Count = 0
    histogram: bytes = b"{}"
    """`latency` as JSON, a tenth of the dictionary's size: few of those that are kept are ever looked at."""

    @property
    def latency(self) -> dict[int, int]:
        """Complete 2xx answers by bucket: bucket i ends at 2^((i+1)/8) seconds."""
        return _HISTOGRAM.decode(self.histogram)


class ProbeScore(Document, frozen=True):
    """How a version has answered the probes of the version whose manifest has the digest ``of``."""

    of: Word
    total: Count
    asked: Count = 0
    right: Count = 0


class LoadedVersion(Document, frozen=True):
    """One version that the pod was asked to load, or still drains."""

    number: Count
    manifest_digest: Word
    state: Word
    """One of `LoadStatus`, or a newer word."""
    reason: str = ""
    message: str = ""
    measured: Measurement = Measurement()
    probes: ProbeScore | None = None


class AdapterState(Document, frozen=True):
    """One adapter as this pod sees it. `active` is what its alias points at here; empty if nothing answers yet."""

    name: Name
    active: Annotated[tuple[Share, ...], Meta(max_length=64)] = ()
    versions: tuple[LoadedVersion, ...] = ()
    last_asked: Moment | None = None
    """When a client last asked this pod for it, loaded or not; None if nobody has since the agent's start."""
    decision: EchoedDecision | None = None
    """None from agents that don't tell, and before the first wanted set."""


class AgentState(Document, frozen=True):
    """The whole answer of `GET /state`."""

    pod: Name
    engine: EngineState
    ready: bool
    revision: Word = ""
    """Another one whenever anything but counters has changed; empty from agents that don't tell."""
    wanted_digest: Word | None = None
    message: str = ""
    """Why the newest wanted set has not been applied; empty where it has."""
    base: BaseIdentity | None = None
    adapters: tuple[AdapterState, ...] = ()
    """Sorted by name, each name once."""

    def adapter(self, name: str) -> AdapterState | None:
        """Return what the pod says of one adapter; None if it doesn't know it."""
        place = bisect_left(self.adapters, name, key=_NAME)
        found = self.adapters[place] if place < len(self.adapters) else None
        return found if found is not None and found.name == name else None
