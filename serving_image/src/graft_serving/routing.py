"""Who answers a request: decided from the model's name alone. Pure: no I/O, no clock, no randomness.

The base never answers for an adapter: a name that is not known here is an error, however close it is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from graft_serving.versions import Route, Share, VersionKey

RETRY_AFTER_SECONDS = 2
"""What a client is told when nobody can answer right now; a small adapter loads within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One adapter's name: the live part of its active route, and the Service that may answer instead."""

    live: Route = ()
    forward_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """Everything that routing depends on, replaced as a whole."""

    base_name: str
    base_live: bool = False
    base_forward_to: str | None = None
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    peer: str | None = None
    """The Service in front of all pods of this base."""


@dataclass(frozen=True, slots=True)
class ToVersion:
    """The engine answers with this version."""

    key: VersionKey


@dataclass(frozen=True, slots=True)
class ToBase:
    """The engine answers with the bare base, because the request names it."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Another Service answers, at this URL without a path."""

    url: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """No such model (404)."""

    message: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The model exists, but nobody can answer right now (503 with Retry-After)."""

    message: str


Decision = ToVersion | ToBase | Forward | NotFound | Unavailable


def resolve(table: RoutingTable, model: str, *, bucket: float, forwarded: bool) -> Decision:
    """Decide who answers.

    Args:
        table: what is known right now.
        model: the request's `model`.
        bucket: in [0, 1); picks the version by weight. The same bucket picks the same version.
        forwarded: another agent sent the request here; then it is never sent on again.
    """
    if model == table.base_name:
        return ToBase() if table.base_live else resolve_elsewhere(table, model, forwarded=forwarded)
    alias = table.aliases.get(model)
    if alias is None:
        return NotFound(_unknown(table, model))
    if alias.live:
        return ToVersion(pick(alias.live, bucket))
    return resolve_elsewhere(table, model, forwarded=forwarded)


def resolve_elsewhere(table: RoutingTable, model: str, *, forwarded: bool) -> Forward | Unavailable:
    """Decide who answers a known model that this pod's engine can't answer right now."""
    alias = table.aliases.get(model)
    named = table.base_forward_to if alias is None else alias.forward_to
    url = named or table.peer
    if url is None or forwarded:
        return Unavailable(
            f"The model {model!r} is not loaded on this replica yet; retry in {RETRY_AFTER_SECONDS} seconds. "
            "If this lasts, look at the serving condition of its LoraAdapter."
        )
    return Forward(url)


def pick(route: Route, bucket: float) -> VersionKey:
    """Pick the version whose part of the route's total weight holds the bucket in [0, 1)."""
    point = bucket * sum(share.weight for share in route)
    for share in route:
        point -= share.weight
        if point < 0:
            return share.version
    return route[-1].version


def session_bucket(model: str, session: str) -> float:
    """A bucket in [0, 1) that is the same on every pod for one session and model."""
    digest = hashlib.sha256(f"{model}\0{session}".encode()).digest()
    # 53 bits: more would round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def heaviest(route: Route) -> Share:
    """The share that gets most of the traffic; the newest one among equals."""
    return max(route, key=lambda share: (share.weight, share.version.number))


def _unknown(table: RoutingTable, model: str) -> str:
    known = ", ".join(sorted([table.base_name, *table.aliases])[:20])
    return f"The model {model!r} does not exist here. Known models: {known}. GET /v1/models lists them."
