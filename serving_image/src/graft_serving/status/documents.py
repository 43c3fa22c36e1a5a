"""The document that the agent writes for the operator: `graft.dev/agent/v1`."""

from typing import Annotated, Literal

from pydantic import Field

from graft_registry.documents import Document
from graft_serving.wanted.documents import Decision


class BaseState(Document):
    """The base that this pod really holds."""

    name: str
    digest: str


class EngineState(Document):
    """The engine as the agent sees it; `starts` counts how often it came up since the agent started."""

    state: Literal["Starting", "Ready", "Down"]
    starts: int
    message: str


class ShareState(Document):
    """One share of a route that is active on this pod."""

    number: int
    weight: int


class MeasuredState(Document):
    """The answers of a version since its alias's present route came into force."""

    requests: int = 0
    errors: int = 0
    latency: dict[int, int] = Field(default_factory=dict)
    """Bucket of `traffic.latency_bucket` → number of complete 2xx answers."""


class ProbeScoreState(Document):
    """How a version has answered the probes of the version whose manifest has the digest `of`."""

    of: str
    total: int
    asked: int
    right: int


class VersionStatus(Document):
    """One version on this pod."""

    number: int
    manifest_digest: str
    engine_name: str
    state: str
    reason: str
    message: str
    inflight: int
    requests: int
    errors: int
    load_seconds: float | None
    measured: MeasuredState = MeasuredState()
    probes: ProbeScoreState | None = None


class AdapterStatus(Document):
    """One alias on this pod."""

    name: str
    active: tuple[ShareState, ...]
    versions: tuple[VersionStatus, ...]
    decision: Decision | None = None
    """The one of the wanted set that is applied, as it stands there."""
    last_asked: str | None = None


class AgentState(Document):
    """`graft.dev/agent/v1`. `message` says why the latest wanted set was not applied, if it wasn't."""

    schema_id: Annotated[Literal["graft.dev/agent/v1"], Field(alias="schema")] = "graft.dev/agent/v1"
    pod: str
    revision: str
    wanted_digest: str | None
    message: str
    base: BaseState
    engine: EngineState
    ready: bool
    adapters: tuple[AdapterStatus, ...]
