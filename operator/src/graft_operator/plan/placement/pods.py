"""On which pods of a revision an adapter is loaded, when it is not to be on all of them.

Each adapter has its own order of the pods, by rendezvous hashing (Thaler and Ravishankar 1998), and takes the first
ones that have room. So a pod that comes or goes moves the adapters that belong on it, and no other.
Nothing is remembered: the choice follows from the pods as they are seen now, whoever makes it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from graft_operator.plan.snapshot import PodObserved

PRIME: Final = 1_073_741_789
"""The largest prime below 2^30. Names are numbers below it, and the product of two of them modulo this is as good as a
hash of both: of 60,000 adapters on 64 pods each pod came first, and each pair of pods first and second, as often as by
chance. It is a tenth of the work of hashing each pair."""


@dataclass(frozen=True, slots=True)
class Holders:
    """The pods that are to load one adapter."""

    chosen: tuple[PodObserved, ...] = ()
    """Those that it belongs on."""
    stand_ins: tuple[PodObserved, ...] = ()
    """Those that hold it as well until enough of the chosen ones answer."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all of them, sorted."""
        return tuple(sorted(pod.name for pod in (*self.chosen, *self.stand_ins)))


class RevisionPods:
    """The pods of a revision, with what many adapters ask of them."""

    def __init__(self, pods: Sequence[PodObserved] = ()) -> None:
        self.all = tuple(sorted(pods, key=lambda pod: pod.name))
        self.staying = tuple(pod for pod in self.all if not pod.leaving)
        self._numbers = [number_of(pod.name) for pod in self.all]
        self._orders: dict[str, Sequence[int]] = {}
        self.answering = Counter(name for pod in self.all if pod.ready for name in pod.answering)
        """On how many pods each adapter answers."""

    def order(self, adapter: str, *, stays: bool = False) -> Iterable[PodObserved]:
        """Return the pods in the adapter's own order; with ``stays``, first those that answer for it already."""
        order = self._orders.get(adapter)
        if order is None:
            own = number_of(adapter)
            scores = [own * number % PRIME for number in self._numbers]
            order = self._orders[adapter] = array("H", sorted(range(len(scores)), key=scores.__getitem__))
        ordered = map(self.all.__getitem__, order)
        if stays and adapter in self.answering:
            return sorted(ordered, key=lambda pod: not answers(pod, adapter))
        return ordered

    def answered_on_some(self, adapter: str) -> bool:
        """Whether some of the pods that get requests answer for the adapter, and others don't."""
        asked = [pod for pod in self.staying if pod.ready and pod.reachable]
        return len({adapter in pod.answering for pod in asked}) == 2

    def are_home(self, adapter: str, replicas: int, *, stays: bool = False) -> bool:
        """Whether the adapter answers on the very pods that it would choose if all had room."""
        if adapter not in self.answering:
            return replicas == 0 or not self.staying
        return all(answers(pod, adapter) for pod in first(replicas, self.order(adapter, stays=stays), is_staying))

    def choose(
        self, adapter: str, replicas: int, has_room: Callable[[PodObserved], bool], *, stays: bool = False
    ) -> Holders:
        """Choose ``replicas`` pods for the adapter, or as many as there are, or have room.

        A pod that is coming up is chosen as well, so that it is ready with all that belongs on it. Until then, and
        while a chosen pod is down, the next ones stand in: first those that answer already, even on their way out. An
        adapter that ``stays`` is left where it answers: whose places change hands all the time would be on the move for
        ever, and for as long as it moves it takes a place more.
        """
        wanted = min(replicas, len(self.staying))
        chosen = first(replicas, self.order(adapter, stays=stays), lambda pod: not pod.leaving and has_room(pod))
        missing = wanted - sum(answers_or_is_about_to(pod, adapter) for pod in chosen)
        if missing <= 0 and wanted <= sum(pod.ready for pod in chosen):
            return Holders(tuple(chosen))
        ordered, taken = list(self.order(adapter, stays=stays)), {pod.name for pod in chosen}
        others = self.answering[adapter] - sum(answers(pod, adapter) for pod in chosen)
        stand_ins = first(min(missing, others), ordered, lambda pod: pod.name not in taken and answers(pod, adapter))
        taken.update(pod.name for pod in stand_ins)
        ready = sum(pod.ready for pod in (*chosen, *stand_ins))
        spare = first(
            wanted - ready,
            ordered,
            lambda pod: pod.ready and not pod.leaving and pod.name not in taken and has_room(pod),
        )
        return Holders(tuple(chosen), (*stand_ins, *spare))


def number_of(name: str) -> int:
    """Return a number from 1 to :data:`PRIME` - 1 that looks random, and is the same whenever it is computed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % (PRIME - 1) + 1


def first(count: int, pods: Iterable[PodObserved], fits: Callable[[PodObserved], bool]) -> list[PodObserved]:
    """Return the first so many pods that fit, or as many as there are."""
    found: list[PodObserved] = []
    if count <= 0:
        return found
    for pod in pods:
        if fits(pod):
            found.append(pod)
            if len(found) == count:
                break
    return found


def is_staying(pod: PodObserved) -> bool:
    """Whether the pod is not on its way out."""
    return not pod.leaving


def answers(pod: PodObserved, adapter: str) -> bool:
    """Whether the pod answers requests for the adapter, as its agent has just said."""
    return pod.ready and adapter in pod.answering


def answers_or_is_about_to(pod: PodObserved, adapter: str) -> bool:
    """Whether nobody has to stand in for a chosen pod: one whose agent can't be asked for a moment is not given up."""
    return answers(pod, adapter) or (pod.ready and not pod.reachable)
