"""The state document of a serving agent, `graft.dev/agent/v1`, as defined in docs/contracts.md §7."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

SCHEMA = "graft.dev/agent/v1"

EngineStatus = Literal["Starting", "Ready", "Down"]
LoadStatus = Literal["Pending", "Fetching", "Loading", "Proving", "Proven", "Refused", "Failing", "Draining"]


class _Document(BaseModel):
    """Fields that we don't know are ignored: the agent may be newer than the operator."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class BaseIdentity(_Document):
    """The base that the pod serves."""

    name: str
    digest: str


class EngineState(_Document):
    """The inference engine beside the agent."""

    state: EngineStatus
    starts: int = 0
    message: str = ""


class Share(_Document):
    """One version of an alias's active route."""

    number: int
    weight: int


class Measurement(_Document):
    """Answers of one version since its alias's route last changed."""

    requests: int = 0
    errors: int = 0
    latency: dict[int, int] = Field(default_factory=dict)
    """Complete 2xx answers by bucket: bucket i ends at 2^((i+1)/8) seconds."""


class ProbeScore(_Document):
    """How a version has answered the probes of the version whose manifest has the digest ``of``."""

    of: str
    total: int
    asked: int = 0
    right: int = 0


class LoadedVersion(_Document):
    """One version that the pod was asked to load, or still drains."""

    number: int
    manifest_digest: str
    engine_name: str = ""
    state: LoadStatus
    reason: str = ""
    message: str = ""
    inflight: int = 0
    requests: int = 0
    errors: int = 0
    load_seconds: float | None = None
    measured: Measurement = Measurement()
    probes: ProbeScore | None = None


class AdapterState(_Document):
    """One adapter as this pod sees it. `active` is what its alias points at here; empty if nothing answers yet."""

    name: str
    active: tuple[Share, ...] = ()
    versions: tuple[LoadedVersion, ...] = ()
    last_asked: datetime | None = None
    """When a client last asked this pod for it, loaded or not; None if nobody has since the agent's start."""


class AgentState(_Document):
    """The whole answer of `GET /state`."""

    schema_: Literal["graft.dev/agent/v1"] = Field(alias="schema")
    pod: str
    revision: str = ""
    """Another one whenever anything but counters has changed; empty from agents that don't tell."""
    wanted_digest: str | None = None
    message: str = ""
    """Why the newest wanted set has not been applied; empty where it has."""
    base: BaseIdentity | None = None
    engine: EngineState
    ready: bool
    adapters: tuple[AdapterState, ...] = ()
