"""To which targets a request may be sent, in which order, and after which failures. Pure: no I/O, clock, randomness.

A request that may have reached an engine goes to one more at most, of another pod, and to none at all when the engine
died under it: it may be the cause. What was never sent, or was left to others, goes on for as long as there is time.
That holds for all pods together. Each request tells which pods may have had it (`asked`), and whoever sends one on
keeps the second try for itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from graft_serving.proxy.routing import (
    AskPeers,
    Decision,
    Forward,
    NotFound,
    NotLoaded,
    Peer,
    RoutingTable,
    ToBase,
    ToVersion,
    Unavailable,
    in_turn,
    resolve_elsewhere,
)

MOST_ENGINES: Final = 2
"""That may get one request, over all pods."""
MOST_HOPS: Final = 2
"""From pod to pod: to another revision, and there to the pod that holds the adapter."""
MOST_TRIES: Final = 16
"""Of one request at one pod, whatever time is left."""
UNKNOWN_POD: Final = "-"
"""Stands for a pod that may have had the request and did not say its name."""


class Outcome(StrEnum):
    """How a try ended, as the metric `graft_forwards_total` says it."""

    ANSWERED = "answered"
    """Something has reached the client, who may also have gone away."""
    UNREACHABLE = "unreachable"
    """Never sent: nobody took the connection."""
    DECLINED = "declined"
    """Taken, and left to others without asking an engine."""
    REFUSED = "refused"
    """Left to others by one that does not take this pod for a pod of the base."""
    LOST = "lost"
    """Sent, and no byte came back: an engine may have had it."""
    DIED = "died"
    """Sent, and the engine died under it."""
    TIMED_OUT = "timed_out"
    """Sent, and no byte came back in the time that a request has."""


NEVER_SENT: Final = frozenset({Outcome.UNREACHABLE, Outcome.DECLINED, Outcome.REFUSED})
SENT_WITHOUT_BYTE: Final = NEVER_SENT | {Outcome.LOST}


@dataclass(frozen=True, slots=True)
class ThisEngine:
    """The engine beside this agent."""

    answer: ToVersion | ToBase


@dataclass(frozen=True, slots=True)
class Service:
    """Any pod behind a Service, at this URL without a path; each connection may lead to another one."""

    url: str


Target = ThisEngine | Peer | Service
Refusal = NotFound | Unavailable | NotLoaded


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where the request may go, and after which outcomes of the tries before."""

    target: Target
    follows: frozenset[Outcome]


@dataclass(frozen=True, slots=True)
class Attempts:
    """The targets in their order; when none is left the client is told `otherwise`."""

    attempts: tuple[Attempt, ...]
    otherwise: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """The hops of a request so far."""

    count: int = 0
    """From pod to pod."""
    asked: tuple[str, ...] = ()
    """The pods whose engines may have had it."""
    from_peer: bool = False
    """Whether another pod means this very one: then it is never sent on."""

    @property
    def engines_left(self) -> int:
        """How many engines may still get the request from here. A second try belongs to the pod that sent it on."""
        return min(MOST_ENGINES - len(self.asked), 1 if self.count or self.from_peer else MOST_ENGINES)

    def sent_on(self, asked: Collection[str]) -> "Hops":
        """The hops as the next pod is told of them; `asked` are pods that have had the request since."""
        return Hops(count=self.count + 1, asked=(*self.asked, *asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """The record of one try."""

    target: Target
    outcome: Outcome
    seconds: float
    detail: str = ""


def attempts(
    table: RoutingTable,
    model: str,
    decision: Decision,
    hops: Hops,
    *,
    session: str | None,
    draw: float,
    ejected: Collection[str] = (),
) -> Attempts:
    """Order whoever may answer.

    Args:
        table: what is known right now.
        model: the request's `model`.
        decision: who answers, of `resolve`.
        hops: how the request has come here.
        session: requests of one session are sent to the same pod for as long as that is there.
        draw: in [0, 1), at random; picks the first pod of a request without a session.
        ejected: names of pods that failed a moment ago; they come last.
    """
    if isinstance(decision, NotFound):
        return Attempts((), decision)
    first: tuple[Attempt, ...] = ()
    elsewhere: AskPeers | Forward | Unavailable | NotLoaded
    if isinstance(decision, (ToVersion, ToBase)):
        first = (Attempt(ThisEngine(decision), NEVER_SENT),)
        elsewhere = resolve_elsewhere(table, model, forwarded=hops.count > 0, from_peer=hops.from_peer)
    else:
        elsewhere = decision
    others, refusal = _others(model, elsewhere, hops, session=session, draw=draw, ejected=ejected)
    return Attempts((*first, *(Attempt(target, SENT_WITHOUT_BYTE) for target in others)), refusal)


def _others(
    model: str,
    elsewhere: AskPeers | Forward | Unavailable | NotLoaded,
    hops: Hops,
    *,
    session: str | None,
    draw: float,
    ejected: Collection[str],
) -> tuple[list[Target], Refusal]:
    """Whoever may answer but for this pod's engine, in order, and what is told if none does."""
    peers, otherwise = (elsewhere.peers, elsewhere.otherwise) if isinstance(elsewhere, AskPeers) else ((), elsewhere)
    ordered = sorted(in_turn(peers, session, draw), key=lambda peer: peer.name in ejected)
    others: list[Target] = [peer for peer in ordered if peer.name not in hops.asked]
    refusal: Refusal
    if isinstance(otherwise, Forward):
        others.append(Service(otherwise.url))
        refusal = Unavailable(f"The model {model!r} is not loaded here, and {otherwise.url} can't answer.")
    else:
        refusal = otherwise
    return others if hops.count < MOST_HOPS else [], refusal


def next_target(planned: Attempts, tries: Sequence[Try], hops: Hops) -> Target | None:
    """Where the request goes next, after these tries; None if nowhere.

    A pod is tried once. A Service is tried again, since it leads to another pod each time.
    """
    outcomes = {tried.outcome for tried in tries}
    lost = sum(tried.outcome is Outcome.LOST for tried in tries)
    if lost >= hops.engines_left or len(tries) >= MOST_TRIES:
        return None
    tried_already = [tried.target for tried in tries]
    for attempt in planned.attempts:
        again = isinstance(attempt.target, Service)
        if outcomes <= attempt.follows and (again or attempt.target not in tried_already):
            return attempt.target
    return None
