"""The document that the operator writes for the agent: `graft.dev/wanted/v1`."""

from collections import Counter
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from graft_registry.documents import Document
from graft_registry.documents.model import Digest
from graft_serving.errors import WantedSetError
from graft_serving.versions import Route, Share, VersionKey

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


def _without_trailing_slash(url: str) -> str:
    return url.rstrip("/")


Url = Annotated[str, Field(pattern=r"^https?://[^/?#]+/?$"), AfterValidator(_without_trailing_slash)]


class WantedBase(Document):
    """The base whose adapters this pod serves, and the other revision's Service that may answer for it."""

    name: Name
    digest: Digest
    forward_to: Url | None = None


class WantedVersion(Document):
    """A version that is to be loaded."""

    number: Annotated[int, Field(ge=1)]
    manifest_digest: Digest


class WantedShare(Document):
    """The weight of one loaded version in the alias's route."""

    number: Annotated[int, Field(ge=1)]
    weight: Annotated[int, Field(ge=0)]


class WantedScoring(Document):
    """Two loaded versions that are to answer the candidate's probes."""

    candidate: Annotated[int, Field(ge=1)]
    stable: Annotated[int, Field(ge=1)]


class Decision(Document):
    """What the operator has decided for an adapter. The agent carries the entry out, and tells only whose it is."""

    target: int | None = None
    previous: int | None = None
    weight: int | None = None


class WantedPeer(Document):
    """Another pod of the base, and where it answers what pods ask one another."""

    name: Name
    url: Url


class WantedAdapter(Document):
    """One alias: the versions to hold, the route to point it at, and who answers while there is none."""

    name: Name
    versions: tuple[WantedVersion, ...] = ()
    route: tuple[WantedShare, ...] = ()
    forward_to: Url | None = None
    pods: tuple[Name, ...] | None = None
    """Names of the pods that hold the adapter; None for all of them."""
    scoring: WantedScoring | None = None
    on_demand: bool = False
    """Whether it may have no place, until it is asked."""
    decision: Decision | None = None

    @model_validator(mode="after")
    def _route_names_listed_versions(self) -> Self:
        numbers = [version.number for version in self.versions]
        if len(numbers) != len(set(numbers)):
            raise ValueError(f"adapter {self.name!r}: versions lists a number twice; list each version once")
        if missing := [share.number for share in self.route if share.number not in numbers]:
            raise ValueError(f"adapter {self.name!r}: route names {missing}; add them to versions")
        if self.scoring and not {self.scoring.candidate, self.scoring.stable} <= set(numbers):
            raise ValueError(f"adapter {self.name!r}: scoring names versions that are not listed; add them to versions")
        if self.route and not any(share.weight for share in self.route):
            raise ValueError(f"adapter {self.name!r}: every weight of route is 0; give one version a weight")
        return self

    @cached_property
    def version_keys(self) -> tuple[VersionKey, ...]:
        """The wanted versions as keys, in the order of the document."""
        return tuple(VersionKey(self.name, wanted.number, wanted.manifest_digest) for wanted in self.versions)

    def part_of(self, pod: str) -> Self:
        """What one pod is to do with the adapter: only to know its name, where others hold it."""
        if self.pods is None or pod in self.pods:
            return self
        return self.model_copy(update={"versions": (), "route": (), "scoring": None})

    @cached_property
    def scored_versions(self) -> tuple[VersionKey, VersionKey] | None:
        """The candidate and the stable version whose answers are to be scored."""
        if self.scoring is None:
            return None
        keys = {key.number: key for key in self.version_keys}
        return keys[self.scoring.candidate], keys[self.scoring.stable]

    @cached_property
    def desired_route(self) -> Route:
        """The wanted route over keys, without the versions that are to get nothing."""
        keys = {key.number: key for key in self.version_keys}
        return tuple(Share(keys[share.number], share.weight) for share in self.route if share.weight)


class WantedSet(Document):
    """`graft.dev/wanted/v1`: all that one pod is to serve."""

    schema_id: Annotated[Literal["graft.dev/wanted/v1"], Field(alias="schema")]
    base: WantedBase
    adapters: tuple[WantedAdapter, ...] = ()
    peers: tuple[WantedPeer, ...] = ()

    @model_validator(mode="after")
    def _aliases_are_unique(self) -> Self:
        names = [self.base.name, *(adapter.name for adapter in self.adapters)]
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            raise ValueError(f"adapters: the names {twice} occur twice (the base's name counts)")
        return self

    def part_of(self, pod: str) -> Self:
        """What one pod is to do."""
        return self.model_copy(update={"adapters": tuple(adapter.part_of(pod) for adapter in self.adapters)})

    def peers_with(self, adapter: WantedAdapter, besides: str) -> tuple[WantedPeer, ...] | None:
        """The pods that hold the adapter and can be asked, but for one; None where every pod holds it."""
        if adapter.pods is None:
            return None
        wanted = set(adapter.pods) - {besides}
        return tuple(peer for peer in self.peers if peer.name in wanted)


def parse_wanted_set(raw: bytes) -> WantedSet:
    """Read the bytes of `wanted.json`.

    Raises:
        WantedSetError: the bytes are not a valid `graft.dev/wanted/v1`; the message names the fields.
    """
    try:
        return WantedSet.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise WantedSetError(f"wanted.json is not a valid graft.dev/wanted/v1: {problems}") from error
