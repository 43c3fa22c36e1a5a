"""What the agent knows of each version on its pod."""

from dataclasses import dataclass, field

from graft_serving.engine.monitor import EngineMonitor
from graft_serving.telemetry.traffic import Traffic
from graft_serving.versions import VersionKey, VersionState


@dataclass(slots=True)
class ProbeScore:
    """How a version has answered the probes of the version whose manifest has the digest `of`."""

    of: str
    total: int
    asked: int = 0
    right: int = 0

    @property
    def complete(self) -> bool:
        """Whether every probe has been asked."""
        return self.asked == self.total

    def count(self, *, right: bool) -> None:
        """Count an answer."""
        self.asked += 1
        self.right += right


@dataclass(slots=True)
class VersionRecord:
    """All that the agent knows of one version.

    Written by the lifecycle alone, but for what has been answered: `traffic` is the router's, `score` the scoring's.
    """

    key: VersionKey
    state: VersionState = VersionState.PENDING
    reason: str = ""
    message: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    load_seconds: float | None = None
    broken_proofs: int = 0
    """Proofs in a row that ended with an error of the engine."""
    refused_by_start: int | None = None
    """The engine's start that refused it; None where no engine did."""
    salt: str = ""
    """What no client knows of the version and every pod that holds it does."""
    traffic: Traffic = field(default_factory=Traffic)
    score: ProbeScore | None = None


def is_live(record: VersionRecord | None, engine: EngineMonitor) -> bool:
    """Whether a version can answer requests now: proven, and loaded in an engine that answers."""
    return (
        record is not None
        and record.state is VersionState.PROVEN
        and engine.is_ready
        and record.key.engine_name in engine.loaded
    )
