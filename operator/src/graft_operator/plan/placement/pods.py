"""On which pods of a revision an adapter is loaded, when it is not to be on all of them.

Each adapter has its own order of the pods, by rendezvous hashing (Thaler and Ravishankar 1998), and takes the first
ones that have room. So a pod that comes or goes moves the adapters that belong on it, and no other.
Nothing is remembered: the choice follows from the pods as they are seen now, whoever makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graft_operator.plan.snapshot import PodObserved


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


def in_order(adapter: str, pods: Sequence[PodObserved], *, stays: bool = False) -> list[PodObserved]:
    """Return the pods in the adapter's own order; with ``stays``, first those that answer for it already."""

    def key(pod: PodObserved) -> tuple[bool, bytes]:
        return stays and not answers(pod, adapter), hashlib.sha256(f"{adapter}\0{pod.name}".encode()).digest()

    return sorted(pods, key=key)


def choose(
    adapter: str,
    replicas: int,
    pods: Sequence[PodObserved],
    has_room: Callable[[PodObserved], bool],
    *,
    stays: bool = False,
) -> Holders:
    """Choose ``replicas`` pods for the adapter, or as many as there are, or have room.

    A pod that is coming up is chosen as well, so that it is ready with all that belongs on it. Until then, and while a
    chosen pod is down, the next ones stand in: first those that answer already, even on their way out. An adapter that
    ``stays`` is left where it answers: whose places change hands all the time would be on the move for ever, and for
    as long as it moves it takes a place more.
    """
    ordered = in_order(adapter, pods, stays=stays)
    chosen = [pod for pod in ordered if not pod.leaving and has_room(pod)][:replicas]
    others = [pod for pod in ordered if pod not in chosen]
    missing = min(replicas, staying(pods)) - sum(answers_or_is_about_to(pod, adapter) for pod in chosen)
    stand_ins = [pod for pod in others if answers(pod, adapter)][: max(0, missing)]
    ready = sum(pod.ready for pod in (*chosen, *stand_ins))
    spare = [pod for pod in others if pod.ready and not pod.leaving and pod not in stand_ins and has_room(pod)]
    return Holders(tuple(chosen), (*stand_ins, *spare[: max(0, min(replicas, staying(pods)) - ready)]))


def staying(pods: Sequence[PodObserved]) -> int:
    """Return the number of pods that are not on their way out."""
    return sum(not pod.leaving for pod in pods)


def answers(pod: PodObserved, adapter: str) -> bool:
    """Whether the pod answers requests for the adapter, as its agent has just said."""
    return pod.ready and adapter in pod.answering


def answers_on_some(adapter: str, pods: Sequence[PodObserved]) -> bool:
    """Whether some of the pods that get requests answer for the adapter, and others don't."""
    asked = [pod for pod in pods if pod.ready and pod.reachable and not pod.leaving]
    return len({adapter in pod.answering for pod in asked}) == 2


def answers_or_is_about_to(pod: PodObserved, adapter: str) -> bool:
    """Whether nobody has to stand in for a chosen pod: one whose agent can't be asked for a moment is not given up."""
    return answers(pod, adapter) or (pod.ready and not pod.reachable)


def is_at_home(adapter: str, replicas: int, pods: Sequence[PodObserved], *, stays: bool = False) -> bool:
    """Whether the adapter answers on the very pods that it would choose if all had room."""
    own = [pod for pod in in_order(adapter, pods, stays=stays) if not pod.leaving][:replicas]
    return all(answers(pod, adapter) for pod in own)
