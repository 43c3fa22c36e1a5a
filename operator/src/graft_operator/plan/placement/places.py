"""Which versions one revision of a base may hold, when there are more than it has places for.

Places are given in this order: what is served already; adapters that are not served yet; adapters that are loaded on
demand, to those that were asked last; versions that roll out beside the one that they replace; and versions that are
kept for a rollback. Only the last two may use the headroom that the engine has on top. Among equals it is first come,
first served, so that nobody loses a place to a newcomer.

Places are counted on each pod. An adapter of every pod needs one on each; another one goes where there is room.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.plan.placement.demand import Demand
from graft_operator.plan.placement.pods import Holders, answers, answers_on_some, choose, is_at_home, staying
from graft_operator.plan.rollout import canary
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved


class Claim(IntEnum):
    """Why a version is to be loaded, the strongest reason first."""

    SERVED = 0
    NEW = 1
    ON_DEMAND = 2
    """Served or new, of an adapter that gives way."""
    CANDIDATE = 3
    KEPT = 4


Claimed = tuple[Claim, AdapterOfBase, ServedVersion]


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


@dataclass(slots=True)
class Places:
    """How many places are taken on each pod of a revision, while they are given away."""

    pods: Sequence[PodObserved]
    taken: Counter[str] = field(default_factory=Counter)

    def everywhere(self) -> list[str]:
        """Return the names of all pods that stay; before there is any, of one that is to come."""
        return [pod.name for pod in self.pods if not pod.leaving] or ["a pod to come"]

    def below(self, limit: int) -> Callable[[PodObserved], bool]:
        """Return what tells whether a pod has room for one more, of so many."""
        return lambda pod: self.taken[pod.name] < limit

    def have_room(self, names: Iterable[str], limit: int) -> bool:
        """Whether each of these pods has."""
        return all(self.taken[name] < limit for name in names)


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
    claims = in_order(claims_on(adapters, digest), pods)
    on_demand = [adapter for claim, adapter, _ in claims if claim is Claim.ON_DEMAND]
    absent: frozenset[str] = frozenset()
    if demand is not None and on_demand:
        given = Places(pods)
        give_away([item for item in claims if item[0] < Claim.ON_DEMAND], places, given)
        absent = crowded_out(on_demand, places, given, demand)
    placement = give_away([item for item in claims if item[1].name not in absent], places, Places(pods))
    return replace(placement, absent=tuple(sorted(absent.union(placement.absent))))


def crowded_out(adapters: Iterable[AdapterOfBase], places: int, given: Places, demand: Demand) -> frozenset[str]:
    """Return those of the adapters on demand that get none of the places that are left on the pods.

    Places are only counted. On which pods they are follows once it is known who has one, so that the order in which
    adapters were asked moves none of them from pod to pod.
    """
    free = [max(0, places - given.taken[name]) for name in given.everywhere()]
    left, left_on_all = sum(free), min(free)
    absent: set[str] = set()
    for adapter in sorted(adapters, key=lambda item: (demand.precedence(item.name), began(item), item.name)):
        needed = min(adapter.replicas or len(free), len(free))
        if needed > left or (adapter.replicas is None and not left_on_all):
            absent.add(adapter.name)
            continue
        left -= needed
        left_on_all -= adapter.replicas is None
    return frozenset(absent)


def give_away(claims: Iterable[Claimed], places: int, given: Places) -> Placement:
    """Give places away in the order of the claims; ``given`` is told who has taken which."""
    placed: defaultdict[str, list[ServedVersion]] = defaultdict(list)
    holders: dict[str, Holders] = {}
    waiting: set[str] = set()
    absent: set[str] = set()
    for claim, adapter, version in claims:
        name, limit = adapter.name, places + (ROLLOUT_HEADROOM if claim >= Claim.CANDIDATE else 0)
        keeps, gives_way = claim is Claim.SERVED, claim is Claim.ON_DEMAND
        without = absent if gives_way else waiting
        if name not in placed:
            if name in waiting or name in absent:
                continue  # a rollout is for pods that hold the version before, and there are none
            if (own := pods_of_its_own(adapter, claim, given, limit)) is not None:
                if is_short := len(own.chosen) < min(adapter.replicas or 0, staying(given.pods)):
                    without.add(name)
                if is_short and gives_way:
                    continue  # on fewer pods than asked for it would take places from others, and not be ready
                holders[name] = own
                keeps = True
                if is_short and not own.names:
                    continue
        names = given.everywhere() if name not in holders else holders[name].names
        if keeps or given.have_room(names, limit):
            placed[name].append(version)
            given.taken.update(names)
        elif claim is not Claim.KEPT:
            without.add(name)
    versions = {name: tuple(held) for name, held in placed.items()}
    return Placement(versions, tuple(sorted(waiting)), holders, tuple(sorted(absent)))


def pods_of_its_own(adapter: AdapterOfBase, claim: Claim, given: Places, limit: int) -> Holders | None:
    """Return the pods to which an adapter's requests have to go; None where any pod will do."""
    if adapter.replicas is not None:
        return choose(adapter.name, adapter.replicas, given.pods, given.below(limit), stays=claim is Claim.ON_DEMAND)
    if claim is Claim.SERVED and answers_on_some(adapter.name, given.pods):
        return Holders(chosen=tuple(pod for pod in given.pods if not pod.leaving))
    return None


def claims_on(adapters: Iterable[AdapterOfBase], digest: str) -> list[Claimed]:
    """Return who wants what on the revision."""
    return [
        (claim_of(adapter, version), adapter, version)
        for adapter in adapters
        if not adapter.deleting
        for version in (adapter.previous, adapter.target)
        if version is not None and version.base_digest == digest
    ]


def in_order(claims: Iterable[Claimed], pods: Sequence[PodObserved]) -> Sequence[Claimed]:
    """Return the claims in the order in which places are given.

    Of those on demand the ones of all pods come first: the others fit into what they leave.
    """

    def key(item: Claimed) -> tuple[Claim, bool, int, float, str]:
        claim, adapter, _ = item
        fits_in = claim is Claim.ON_DEMAND and adapter.replicas is not None
        return claim, fits_in, displacement(adapter, pods), began(adapter), adapter.name

    return sorted(claims, key=key)


def displacement(adapter: AdapterOfBase, pods: Sequence[PodObserved]) -> int:
    """Return 0 for an adapter that is where it belongs, 1 for one that answers elsewhere, and 2 for one without a pod.

    So nobody has to leave for one that comes from a pod that is gone.
    """
    if adapter.replicas is None or is_at_home(adapter.name, adapter.replicas, pods, stays=adapter.on_demand):
        return 0
    return 1 if any(answers(pod, adapter.name) for pod in pods) else 2


def claim_of(adapter: AdapterOfBase, version: ServedVersion) -> Claim:
    """Return why the version is to be loaded."""
    claim = claim_for_good(adapter, version)
    return Claim.ON_DEMAND if adapter.on_demand and claim < Claim.ON_DEMAND else claim


def claim_for_good(adapter: AdapterOfBase, version: ServedVersion) -> Claim:
    """Return the same for an adapter that gives its place to nobody."""
    progress, is_target = adapter.progress, version == adapter.target
    if progress is None:
        return Claim.SERVED
    if progress.weight == canary.ALL and progress.step_time is not None:
        return Claim.SERVED if is_target else Claim.KEPT
    if not is_target:
        return Claim.SERVED
    beside = adapter.previous is not None and adapter.previous.base_digest == version.base_digest
    return Claim.CANDIDATE if beside else Claim.NEW


def began(adapter: AdapterOfBase) -> float:
    """Return when the adapter's target was decided, as a Unix time; 0 where that is over and done with."""
    return adapter.progress.start_time.timestamp() if adapter.progress else 0.0
