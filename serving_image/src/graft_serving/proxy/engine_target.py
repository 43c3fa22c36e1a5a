"""What answers one request in the engine beside this agent."""

from dataclasses import dataclass, field

from graft_serving.telemetry.traffic import Traffic
from graft_serving.versions import VersionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTarget:
    """What answers one request on this pod's engine; without a key it is the bare base."""

    key: VersionKey | None = None
    engine_model: str
    label: str
    adapter: str
    version: str
    traffic: Traffic = field(default_factory=Traffic)
    is_named: bool = False
    """Whether the client has chosen the version itself, so that its answer says nothing of the others'."""

    @property
    def labels(self) -> tuple[str, str]:
        """Adapter and version, as metrics name them."""
        return self.adapter, self.version
