"""Which versions one revision of a base may hold, when there are more than it has places for.

Places are given in this order: what is served already; adapters that are not served yet; versions that roll out beside
the one that they replace; and versions that are kept for a rollback. Only the last two may use the headroom that the
engine has on top. Among equals it is first come, first served, so that nobody loses a place to a newcomer.

Places are counted on each pod. An adapter of every pod needs one on each; another one goes where there is room.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.plan import canary
from graft_operator.plan.observed import AdapterOfBase, PodObserved
from graft_operator.plan.placement import Holders, answers, answers_on_some, choose, is_at_home, staying


class Claim(IntEnum):
    """Why a version is to be loaded, the strongest reason first."""

    SERVED = 0
    NEW = 1
    CANDIDATE = 2
    KEPT = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """The versions that are loaded, by adapter, and the adapters that have no place, or too few, for their target."""

    versions: Mapping[str, tuple[ServedVersion, ...]]
    waiting: tuple[str, ...]
    holders: Mapping[str, Holders] = field(default_factory=dict)
    """Where each adapter is that is not on all pods, or not yet: its requests have to go there."""

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


def place(adapters: Iterable[AdapterOfBase], digest: str, places: int, pods: Sequence[PodObserved] = ()) -> Placement:
    """Give the places of the revision ``digest`` away. ``places`` is the base's ``serving.maxLoadedAdapters``.

    ``pods`` are those of the revision. What is served keeps its place even when there are fewer places than that: the
    engine then swaps, and answers.
    """
    given = Places(pods)
    placed: defaultdict[str, list[ServedVersion]] = defaultdict(list)
    holders: dict[str, Holders] = {}
    waiting: set[str] = set()
    for claim, adapter, version in sorted_claims(adapters, digest, pods):
        name, limit = adapter.name, places + (ROLLOUT_HEADROOM if claim >= Claim.CANDIDATE else 0)
        keeps = claim is Claim.SERVED
        if name not in placed:
            if name in waiting:
                continue  # a rollout is for pods that hold the version before, and there are none
            if (own := pods_of_its_own(adapter, claim, given, limit)) is not None:
                holders[name] = own
                keeps = True
                if len(own.chosen) < min(adapter.replicas or 0, staying(pods)):
                    waiting.add(name)
                    if not own.names:
                        continue
        names = given.everywhere() if name not in holders else holders[name].names
        if keeps or given.have_room(names, limit):
            placed[name].append(version)
            given.taken.update(names)
        elif claim is not Claim.KEPT:
            waiting.add(name)
    return Placement({name: tuple(held) for name, held in placed.items()}, tuple(sorted(waiting)), holders)


def pods_of_its_own(adapter: AdapterOfBase, claim: Claim, given: Places, limit: int) -> Holders | None:
    """Return the pods to which an adapter's requests have to go; None where any pod will do."""
    if adapter.replicas is not None:
        return choose(adapter.name, adapter.replicas, given.pods, given.below(limit))
    if claim is Claim.SERVED and answers_on_some(adapter.name, given.pods):
        return Holders(chosen=tuple(pod for pod in given.pods if not pod.leaving))
    return None


def sorted_claims(
    adapters: Iterable[AdapterOfBase], digest: str, pods: Sequence[PodObserved]
) -> Sequence[tuple[Claim, AdapterOfBase, ServedVersion]]:
    """Return who wants what on the revision, in the order in which places are given."""
    claims = [
        (claim_of(adapter, version), adapter, version)
        for adapter in adapters
        if not adapter.deleting
        for version in (adapter.previous, adapter.target)
        if version is not None and version.base_digest == digest
    ]
    return sorted(claims, key=lambda item: (item[0], displacement(item[1], pods), began(item[1]), item[1].name))


def displacement(adapter: AdapterOfBase, pods: Sequence[PodObserved]) -> int:
    """Return 0 for an adapter that is where it belongs, 1 for one that answers elsewhere, and 2 for one without a pod.

    So nobody has to leave for one that comes from a pod that is gone.
    """
    if adapter.replicas is None or is_at_home(adapter.name, adapter.replicas, pods):
        return 0
    return 1 if any(answers(pod, adapter.name) for pod in pods) else 2


def claim_of(adapter: AdapterOfBase, version: ServedVersion) -> Claim:
    """Return why the version is to be loaded."""
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
