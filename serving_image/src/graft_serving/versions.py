"""The words that the agent's modules share: what a version is, which states it has, and where aliases point."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from graft_registry.digests import digest_hex
from graft_registry.documents import engine_name


class VersionState(StrEnum):
    """Where a version stands on this pod; the names are part of `graft.dev/agent/v1`."""

    PENDING = "Pending"
    FETCHING = "Fetching"
    LOADING = "Loading"
    PROVING = "Proving"
    PROVEN = "Proven"
    REFUSED = "Refused"
    FAILING = "Failing"
    DRAINING = "Draining"


@dataclass(frozen=True, order=True)
class VersionKey:
    """One immutable version of one adapter. The digest is the one of the manifest's bytes, `sha256:<hex>`."""

    adapter: str
    number: int
    manifest_digest: str

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # A key is looked up some twenty times in each pass over all versions.
        return hash((self.adapter, self.number, self.manifest_digest))

    @cached_property
    def engine_name(self) -> str:
        """The unique name under which the engine knows this version."""
        return engine_name(self.adapter, self.number, self.manifest_digest)

    @cached_property
    def directory_name(self) -> str:
        """The name of the folder that holds this version's files: the hex digits of the manifest digest."""
        return digest_hex(self.manifest_digest)

    @cached_property
    def label(self) -> str:
        """The form in which answers name the version, e.g. `support@v7`."""
        return f"{self.adapter}@v{self.number}"


@dataclass(frozen=True, slots=True)
class Share:
    """The part of an alias's traffic that one version gets, relative to the other shares of the same route."""

    version: VersionKey
    weight: int


Route = tuple[Share, ...]
