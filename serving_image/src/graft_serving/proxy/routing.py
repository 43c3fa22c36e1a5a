"""Who answers a request: decided from the model's name and the session. Pure: no I/O, no clock, no randomness.

The base never answers for an adapter: a name that is not known here is an error, however close it is.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graft_serving.versions import Route, Share, VersionKey

_VERSION_NAME: Final = re.compile(r"(?P<adapter>[^@]+)@v(?P<number>[1-9][0-9]{0,7})")
"""As in `support@v7`. No Kubernetes name has an `@`, so none can be taken for another adapter's."""

_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""What a Kubernetes object may be called."""

RETRY_AFTER_SECONDS = 2
"""What a client is told when nobody can answer right now; a small adapter loads within this time."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another pod of the base, and where it answers other pods: a URL without a path."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One adapter's name: the live part of its active route, and who may answer instead."""

    live: Route = ()
    peers: tuple[Peer, ...] | None = None
    """The other pods that hold it and can be asked; None where every pod of the base does."""
    forward_to: str | None = None
    """The Service of another revision of the base."""
    on_demand: bool = False
    """Whether it may have no place, until it is asked."""
    is_wanted: bool = True
    """Whether this pod is to load it."""
    loaded: Mapping[int, VersionKey] = field(default_factory=dict)
    """The versions that can answer here by their numbers, those beside the route, too."""
    coming: Mapping[int, VersionKey] = field(default_factory=dict)
    """Those that are to be loaded here and can't answer yet, by their numbers."""
    salts: Mapping[VersionKey, str] = field(default_factory=dict)
    """What no client knows of a version and every pod that holds it does: else a client could calculate which sessions
    get which version."""

    @property
    def is_missing(self) -> bool:
        """Whether it is loaded on demand, and nobody has it who is known here."""
        return self.on_demand and not (self.live or self.peers or self.forward_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """Everything that routing depends on, replaced as a whole."""

    base_name: str
    base_live: bool = False
    base_forward_to: str | None = None
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    peer: str | None = None
    """The Service in front of all pods of this base."""
    has_base: bool = True
    """Whether the bare base is served here; a pod whose version is merged has none."""

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may name."""
        return (*((self.base_name,) if self.has_base else ()), *self.aliases)

    def has(self, key: VersionKey) -> bool:
        """Whether requests that name this version are answered by it here."""
        alias = self.aliases.get(key.adapter)
        return alias is not None and alias.loaded.get(key.number) == key

    def awaits(self, key: VersionKey) -> bool:
        """Whether requests that name this version are told to come again, since it is to be loaded here."""
        alias = self.aliases.get(key.adapter)
        return alias is not None and alias.coming.get(key.number) == key


@dataclass(frozen=True, slots=True)
class ToVersion:
    """The engine answers with this version."""

    key: VersionKey
    is_named: bool = False
    """Whether the request itself named the version: then nothing but the client has chosen it."""


@dataclass(frozen=True, slots=True)
class ToBase:
    """The engine answers with the bare base, because the request names it."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Another Service answers, at this URL without a path."""

    url: str


@dataclass(frozen=True, slots=True)
class AskPeers:
    """One of these pods of the base answers, or else somebody else does."""

    peers: tuple[Peer, ...]
    otherwise: "Forward | Unavailable | NotLoaded"


@dataclass(frozen=True, slots=True)
class NotFound:
    """No such model (404)."""

    message: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The model exists, but nobody can answer right now (503 with Retry-After)."""

    message: str


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """The model is loaded on demand, and is not there yet (503 with Retry-After)."""

    message: str
    may_wait: bool
    """Whether the request may wait for it here; one that another pod has sent on only where it is about to be."""


Decision = ToVersion | ToBase | AskPeers | Forward | NotFound | Unavailable | NotLoaded


def resolve(
    table: RoutingTable,
    model: str,
    *,
    session: str | None,
    draw: float,
    forwarded: bool,
    from_peer: bool = False,
) -> Decision:
    """Decide who answers.

    Args:
        table: what is known right now.
        model: the request's `model`.
        session: requests of one session get the same version for as long as the weights allow; None for a single one.
        draw: in [0, 1), at random; picks the version of a request without a session.
        forwarded: another agent sent the request to the Service of this pod; then it is sent to no other Service.
        from_peer: another agent sent the request to this very pod; then it is never sent on again.
    """
    if model == table.base_name and table.has_base:
        if table.base_live:
            return ToBase()
        return resolve_elsewhere(table, model, forwarded=forwarded, from_peer=from_peer)
    adapter, number = named(model)
    alias = table.aliases.get(adapter)
    if alias is None:
        return NotFound(unknown(table, model))
    if number is not None:
        return _resolve_version(table, alias, model, number, forwarded=forwarded, from_peer=from_peer)
    if alias.live:
        version = pick(alias.live, draw) if session is None else pick_for_session(alias.live, session, alias.salts)
        return ToVersion(version)
    return resolve_elsewhere(table, model, forwarded=forwarded, from_peer=from_peer)


def named(model: str) -> tuple[str, int | None]:
    """Return the adapter that a model's name means, and its version if it names one, as `support@v7` does."""
    match = _VERSION_NAME.fullmatch(model)
    return (match["adapter"], int(match["number"])) if match else (model, None)


def _resolve_version(
    table: RoutingTable, alias: Alias, model: str, number: int, *, forwarded: bool, from_peer: bool
) -> Decision:
    """Decide who answers with one version of an adapter; no other version ever does."""
    if (key := alias.loaded.get(number)) is not None:
        return ToVersion(key, is_named=True)
    is_somewhere = number in alias.coming or (alias.forward_to is not None and not forwarded and not from_peer)
    if alias.live and not is_somewhere:
        # Other pods of this revision hold the same versions, but for a moment: to search them only delays the answer.
        return NotFound(_not_loaded_version(alias, model))
    return resolve_elsewhere(table, model, forwarded=forwarded, from_peer=from_peer)


def _not_loaded_version(alias: Alias, model: str) -> str:
    known = ", ".join(alias.loaded[number].label for number in sorted(alias.loaded))
    return (
        f"The model {model!r} is not loaded. Loaded versions: {known}. Those of a rollout are, and the one before it; "
        "another one is once spec.version of the LoraAdapter names it."
    )


def resolve_elsewhere(
    table: RoutingTable, model: str, *, forwarded: bool, from_peer: bool = False
) -> AskPeers | Forward | Unavailable | NotLoaded:
    """Decide who answers a known model that this pod's engine can't answer right now."""
    alias = table.aliases.get(named(model)[0])
    peers = alias.peers if alias is not None else None
    other = table.base_forward_to if alias is None else alias.forward_to
    # All pods load an adapter at the same time: another one is asked only where this one has lost its engine.
    awaits_load = alias is not None and alias.on_demand and not alias.live and table.base_live
    # Behind the base's own Service it may be any pod's turn: no better than asking nobody, where few pods hold it.
    url = other or (table.peer if peers is None and not awaits_load else None)
    if url is not None and not forwarded and not from_peer:
        otherwise: Forward | Unavailable | NotLoaded = Forward(url)
    elif alias is not None and awaits_load:
        otherwise = _not_loaded(model, may_wait=alias.is_wanted or not from_peer)
    else:
        otherwise = _unavailable(model, peers)
    return AskPeers(peers, otherwise) if peers and not from_peer else otherwise


def _not_loaded(model: str, *, may_wait: bool) -> NotLoaded:
    return NotLoaded(
        f"The model {model!r} is loaded on demand and is not there yet; retry in {RETRY_AFTER_SECONDS} seconds. If this"
        " lasts, the base has too few places for the adapters in use: see the condition Ready of its LoraAdapter.",
        may_wait,
    )


def _unavailable(model: str, peers: tuple[Peer, ...] | None) -> Unavailable:
    where = "on this replica yet" if peers is None else "on any replica that can be reached"
    return Unavailable(
        f"The model {model!r} is not loaded {where}; retry in {RETRY_AFTER_SECONDS} seconds. "
        "If this lasts, look at the serving condition of its LoraAdapter."
    )


def in_turn(peers: tuple[Peer, ...], session: str | None, draw: float) -> tuple[Peer, ...]:
    """The order in which peers are asked: the same one for a session, so that its prefixes are found in their cache."""
    if session is None:
        first = int(draw * len(peers))
        return peers[first:] + peers[:first]
    return tuple(sorted(peers, key=lambda peer: _hashed(peer.name, session)))


def pick(route: Route, draw: float) -> VersionKey:
    """Pick the version whose part of the route's total weight holds the draw from [0, 1)."""
    point = draw * sum(share.weight for share in route)
    for share in route:
        point -= share.weight
        if point < 0:
            return share.version
    return route[-1].version


def pick_for_session(route: Route, session: str, salts: Mapping[VersionKey, str] | None = None) -> VersionKey:
    """Pick the version of a session: the same one on every pod, whatever the order of the route.

    Without salts anybody can calculate it who knows the digests.

    Weighted rendezvous hashing: a version whose part grows takes sessions over and loses none, and a version that
    comes or goes moves no session between two others. Each version has its own exponentially distributed number for
    the session, at the rate of its weight; the smallest one wins with the probability of its part of the weights
    (Thaler and Ravishankar 1998; the weights as in Schindelhauer and Schomaker 2005).
    """
    if len(route) == 1:
        return route[0].version
    salts = salts or {}

    def rate(share: Share) -> float:
        number = _uniform(salts.get(share.version, share.version.manifest_digest), session)
        return -math.log(number) / share.weight

    return min(route, key=rate).version


def _uniform(salt: str, session: str) -> float:
    """A number in (0, 1] that depends on both alone."""
    # 53 bits are all that a float holds.
    return ((int.from_bytes(_hashed(salt, session)[:8], "big") >> 11) + 1) / 2**53


def _hashed(name: str, session: str) -> bytes:
    return hashlib.sha256(f"{name}\0{session}".encode("utf-8", "surrogatepass")).digest()


def unknown(table: RoutingTable, model: str) -> str:
    """What a client is told that names a model which nobody serves here: there may be an adapter of that name all the
    same, in training or rejected by its gate, of which pods are not told."""
    known, adapter = ", ".join(sorted(table.names)[:20]), named(model)[0]
    # The name is a stranger's, and people copy commands.
    command = f"kubectl graft status {adapter}" if _OBJECT_NAME.fullmatch(adapter) else "kubectl graft status"
    return (
        f"No version of {model!r} is served here. Known models: {known}. GET /v1/models lists them. If it is a"
        f" LoraAdapter, `{command}` tells what it waits for."
    )
