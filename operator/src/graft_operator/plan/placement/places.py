"""Which versions one revision of a base may hold, when there are more than it has places for.

Places are given in this order: what is served already; adapters that are not served yet; adapters that are loaded on
demand, to those that were asked last; versions that roll out beside the one that they replace; and versions that are
kept for a rollback. Only the last two may use the headroom that the engine has on top. Among equals it is first come,
first served, so that nobody loses a place to a newcomer.

Places are counted on each pod. An adapter of every pod needs one on each; another one goes where there is room.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.plan.placement.demand import Demand
from graft_operator.plan.placement.pods import Holders, RevisionPods
from graft_operator.plan.rollout import canary
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved


class PlacePriority(IntEnum):
    """Why a version is to be loaded, the strongest reason first."""

    SERVED = 0
    NEW = 1
    ON_DEMAND = 2
    """Served or new, of an adapter that is loaded on demand and may be evicted."""
    CANDIDATE = 3
    KEPT = 4


Claimed = tuple[PlacePriority, AdapterOfBase, ServedVersion]


@dataclass(frozen=True, slots=True)
class Placement:
    """The versions that are loaded, by adapter, and the adapters that have no place, or too few, for their target."""

    versions: Mapping[str, tuple[ServedVersion, ...]]
    waiting: tuple[str, ...]
    holders: Mapping[str, Holders] = field(default_factory=dict)
    """Where each adapter is that is not on all pods, or not yet: its requests have to go there."""
    absent: tuple[str, ...] = ()
    """The adapters that are loaded on demand and have no place now."""

    @property
    def settled(self) -> bool:
        """Whether every adapter is where it belongs: no pod stands in for another."""
        return not any(holders.stand_ins for holders in self.holders.values())


class Places:
    """The places of a revision's pods, while they are given away.

    What is on every pod is counted once, and not on each of them.
    """

    def __init__(self, pods: RevisionPods, limit: int) -> None:
        self.pods = pods
        self.limit = limit
        self._everywhere = 0
        self._taken: Counter[str] = Counter()
        self._most = 0
        """The most that is taken on one of the pods that stay, besides what is on every pod."""

    def free_on(self, pod: PodObserved, headroom: int = 0) -> int:
        """Return how many places the pod has left; below zero where it holds more than it should."""
        everywhere = 0 if pod.leaving else self._everywhere  # nothing new comes onto one that leaves
        return self.limit + headroom - everywhere - self._taken[pod.name]

    def is_free_on(self, pods: Iterable[PodObserved], headroom: int = 0) -> bool:
        """Whether each of these pods has a place left."""
        return all(self.free_on(pod, headroom) > 0 for pod in pods)

    def is_free_everywhere(self, headroom: int = 0) -> bool:
        """Whether each pod that stays has a place left; before there is any, one that is to come."""
        return self.limit + headroom - self._everywhere - self._most > 0

    def free(self) -> list[int]:
        """Return how many places are left on each pod that stays; before there is any, on one that is to come."""
        left = [self.free_on(pod) for pod in self.pods.staying] or [self.limit - self._everywhere]
        return [max(0, places) for places in left]

    def take(self, pods: Iterable[PodObserved]) -> None:
        """Take a place on each of these pods."""
        for pod in pods:
            self._taken[pod.name] += 1
            if not pod.leaving:
                self._most = max(self._most, self._taken[pod.name])

    def take_everywhere(self) -> None:
        """Take a place on every pod."""
        self._everywhere += 1


class PlaceAllocator:
    """Gives the places of one revision away, one claim after the other."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._versions: defaultdict[str, list[ServedVersion]] = defaultdict(list)
        self._holders: dict[str, Holders] = {}
        self._without: dict[PlacePriority | None, set[str]] = defaultdict(set)
        """Adapters without a place, or with too few: under ``ON_DEMAND`` those that give way, all others under None."""

    def placement(self) -> Placement:
        """Return what has been given away."""
        waiting, absent = self._without[None], self._without[PlacePriority.ON_DEMAND]
        versions = {name: tuple(held) for name, held in self._versions.items()}
        return Placement(versions, tuple(sorted(waiting)), self._holders, tuple(sorted(absent)))

    def give(self, claim: PlacePriority, adapter: AdapterOfBase, version: ServedVersion) -> None:
        """Give the version its places, if there are any for it."""
        if adapter.name in self._versions:
            self._give_beside(claim, adapter, version)
        elif not any(adapter.name in names for names in self._without.values()):
            self._give_first(claim, adapter, version)
        # else a rollout is for pods that hold the version before, and there are none

    def _give_beside(self, claim: PlacePriority, adapter: AdapterOfBase, version: ServedVersion) -> None:
        """Load another version of the adapter, where the first one is."""
        if claim is PlacePriority.SERVED or self._has_room(claim, adapter.name):
            self._load(adapter.name, version)
        elif claim is not PlacePriority.KEPT:
            self._refuse(claim, adapter.name)

    def _give_first(self, claim: PlacePriority, adapter: AdapterOfBase, version: ServedVersion) -> None:
        """Choose pods for an adapter that has none yet."""
        own = self._pods_of_its_own(claim, adapter)
        if own is None:
            self._give_beside(claim, adapter, version)
            return
        is_short = len(own.chosen) < min(adapter.replicas or 0, len(self._places.pods.staying))
        if is_short:
            self._refuse(claim, adapter.name)
            if claim is PlacePriority.ON_DEMAND:
                return  # on fewer pods than asked for it would take places from others, and not be ready
        self._holders[adapter.name] = own
        if not is_short or own.names:
            self._load(adapter.name, version)

    def _pods_of_its_own(self, claim: PlacePriority, adapter: AdapterOfBase) -> Holders | None:
        """Return the pods to which an adapter's requests have to go; None where any pod will do."""
        pods, headroom = self._places.pods, headroom_of(claim)
        if adapter.replicas is not None:
            return pods.choose(
                adapter.name,
                adapter.replicas,
                lambda pod: self._places.free_on(pod, headroom) > 0,
                stays=claim is PlacePriority.ON_DEMAND,
            )
        if claim is PlacePriority.SERVED and pods.answered_on_some(adapter.name):
            return Holders(chosen=pods.staying)
        return None

    def _has_room(self, claim: PlacePriority, name: str) -> bool:
        holders, headroom = self._holders.get(name), headroom_of(claim)
        if holders is None:
            return self._places.is_free_everywhere(headroom)
        return self._places.is_free_on((*holders.chosen, *holders.stand_ins), headroom)

    def _load(self, name: str, version: ServedVersion) -> None:
        self._versions[name].append(version)
        if (holders := self._holders.get(name)) is not None:
            self._places.take((*holders.chosen, *holders.stand_ins))
        else:
            self._places.take_everywhere()

    def _refuse(self, claim: PlacePriority, name: str) -> None:
        self._without[claim if claim is PlacePriority.ON_DEMAND else None].add(name)


def place(
    adapters: Iterable[AdapterOfBase],
    digest: str,
    places: int,
    pods: Sequence[PodObserved] = (),
    demand: Demand | None = None,
) -> Placement:
    """Give the places of the revision ``digest`` away. ``places`` is the base's ``serving.maxLoadedAdapters``.

    ``pods`` are those of the revision. What is served keeps its place even when there are fewer places than that: the
    engine then swaps, and answers. ``demand`` is needed where adapters are loaded on demand.
    """
    own = RevisionPods(pods)
    claims = in_order(claims_on(adapters, digest), own)
    on_demand = [adapter for claim, adapter, _ in claims if claim is PlacePriority.ON_DEMAND]
    absent: frozenset[str] = frozenset()
    if demand is not None and on_demand:
        left = Places(own, places)
        give_away([item for item in claims if item[0] < PlacePriority.ON_DEMAND], left)
        absent = crowded_out(on_demand, left.free(), demand)
    placement = give_away([item for item in claims if item[1].name not in absent], Places(own, places))
    return replace(placement, absent=tuple(sorted(absent.union(placement.absent))))


def crowded_out(adapters: Iterable[AdapterOfBase], free: Sequence[int], demand: Demand) -> frozenset[str]:
    """Return those of the adapters on demand that get none of the places that are left on the pods.

    Places are only counted. On which pods they are follows once it is known who has one, so that the order in which
    adapters were asked moves none of them from pod to pod.
    """
    left, left_on_all = sum(free), min(free)
    absent: set[str] = set()
    for adapter in sorted(adapters, key=lambda item: (demand.precedence(item.name), rollout_start(item), item.name)):
        needed = min(adapter.replicas or len(free), len(free))
        if needed > left or (adapter.replicas is None and not left_on_all):
            absent.add(adapter.name)
            continue
        left -= needed
        left_on_all -= adapter.replicas is None
    return frozenset(absent)


def give_away(claims: Iterable[Claimed], places: Places) -> Placement:
    """Give the places away in the order of the claims."""
    giving = PlaceAllocator(places)
    for claim, adapter, version in claims:
        giving.give(claim, adapter, version)
    return giving.placement()


def headroom_of(claim: PlacePriority) -> int:
    """Return how many places beyond the limit a claim may use."""
    return ROLLOUT_HEADROOM if claim >= PlacePriority.CANDIDATE else 0


def claims_on(adapters: Iterable[AdapterOfBase], digest: str) -> list[Claimed]:
    """Return the claims on the revision: for each adapter, its previous and its target version."""
    return [
        (claim_of(adapter, version), adapter, version)
        for adapter in adapters
        if not adapter.deleting
        for version in (adapter.previous, adapter.target)
        if version is not None and version.base_digest == digest
    ]


def in_order(claims: Iterable[Claimed], pods: RevisionPods) -> Sequence[Claimed]:
    """Return the claims in the order in which places are given.

    Of those on demand the ones of all pods come first: the others fit into what they leave.
    """

    def key(item: Claimed) -> tuple[PlacePriority, bool, int, float, str]:
        claim, adapter, _ = item
        fits_in = claim is PlacePriority.ON_DEMAND and adapter.replicas is not None
        return claim, fits_in, move_rank(adapter, pods), rollout_start(adapter), adapter.name

    return sorted(claims, key=key)


def move_rank(adapter: AdapterOfBase, pods: RevisionPods) -> int:
    """Return 0 for an adapter that is where it belongs, 1 for one that answers elsewhere, and 2 for one without a pod.

    So nobody has to leave for one that comes from a pod that is gone.
    """
    if adapter.replicas is None or pods.are_home(adapter.name, adapter.replicas, stays=adapter.on_demand):
        return 0
    return 1 if adapter.name in pods.answering else 2


def claim_of(adapter: AdapterOfBase, version: ServedVersion) -> PlacePriority:
    """Return why the version is to be loaded."""
    claim = priority_unless_on_demand(adapter, version)
    return PlacePriority.ON_DEMAND if adapter.on_demand and claim < PlacePriority.ON_DEMAND else claim


def priority_unless_on_demand(adapter: AdapterOfBase, version: ServedVersion) -> PlacePriority:
    """Return why the version is to be loaded, as if the adapter were not loaded on demand."""
    progress, is_target = adapter.progress, version == adapter.target
    if progress is None:
        return PlacePriority.SERVED
    if progress.weight == canary.ALL and progress.step_time is not None:
        return PlacePriority.SERVED if is_target else PlacePriority.KEPT
    if not is_target:
        return PlacePriority.SERVED
    beside = adapter.previous is not None and adapter.previous.base_digest == version.base_digest
    return PlacePriority.CANDIDATE if beside else PlacePriority.NEW


def rollout_start(adapter: AdapterOfBase) -> float:
    """Return when the adapter's target was decided, as a Unix time; 0 where that is over and done with."""
    return adapter.progress.start_time.timestamp() if adapter.progress else 0.0
