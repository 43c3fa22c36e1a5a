"""The headers of pods among themselves: what goes on with a request, and what an answer of another pod means. Pure."""

from collections.abc import Mapping
from typing import Final

from graft_serving.proxy.attempts import Hops, Outcome
from graft_serving.telemetry.tracing import TRACE_HEADERS

FORWARDED: Final = "X-Graft-Forwarded"
"""How many hops from pod to pod a request has behind it."""
ASKED: Final = "X-Graft-Asked"
"""The pods whose engines may have had the request: of a request all of them, of an answer the pod that tells so."""
DIED: Final = "X-Graft-Died"
"""In an answer: the engine died under the request."""
POD: Final = "X-Graft-Pod"
"""The pod that a peer means to ask: an address may be another pod's by now, which holds other adapters of that name."""
CLIENT: Final = "X-Graft-Client"
"""Who has asked, as the first pod knows it; believed of pods only."""
PEER: Final = "X-Graft-Peer"
"""The sender's token, which says that it is a pod of the base."""
VERSION: Final = "X-Graft-Version"
NO_VERSION: Final = "none"
"""The version that answers name which came from no version: errors of the agent, and the list of models."""
KEYS: Final = ("Authorization", "X-Api-Key")
"""OpenAI's and Anthropic's. They never leave the pod that a client has sent them to."""

_TO_ENGINE: Final = frozenset({"accept", *TRACE_HEADERS, "x-request-id"})
_NOT_SENT_ON: Final = frozenset(
    name.lower()
    for name in (
        *("Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Keep-Alive", "TE"),
        *("Transfer-Encoding", FORWARDED, ASKED, POD, CLIENT, PEER, *KEYS),
    )
)
_OF_PROXIES: Final = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
UNKNOWN_HERE: Final = 401
"""The status of a pod that does not take the sender for a pod of its base: a token or a key is missing there."""
LEFT_BY_PEERS: Final = frozenset({UNKNOWN_HERE, 404, 408, 421, 429, 503})
"""Statuses of a pod that was meant and leaves the request to others: it lacks the model, engine or room."""
LEFT_BY_SERVICES: Final = frozenset({UNKNOWN_HERE, 429, 503})
"""The same of a pod behind a Service, which knows of the model if anybody does."""


def came_through_proxy(headers: Mapping[str, str]) -> bool:
    """Whether a proxy says that it has sent this on: a Gateway, an Ingress, a load balancer of HTTP."""
    return any(name.lower() in _OF_PROXIES or name.lower().startswith("x-envoy-") for name in headers)


def for_engine(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a client's headers the engine gets, and what it needs."""
    told = {name: value for name, value in headers.items() if name.lower() in _TO_ENGINE}
    return {"Content-Type": "application/json", "Accept-Encoding": "identity", **told}


def for_pod(headers: Mapping[str, str], hops: Hops, client: str) -> dict[str, str]:
    """What another pod gets: the client's headers but for its keys, how the request came, and whose it is."""
    told = {name: value for name, value in headers.items() if name.lower() not in _NOT_SENT_ON}
    asked = {ASKED: ",".join(hops.asked)} if hops.asked else {}
    return {**told, FORWARDED: str(hops.count), CLIENT: client, **asked}


def traced(told: Mapping[str, str], trace: Mapping[str, str]) -> Mapping[str, str]:
    """The headers with the trace context of a span in place of the one that came; as they are without a span."""
    if not trace:
        return told
    return {**{name: value for name, value in told.items() if name.lower() not in TRACE_HEADERS}, **trace}


def hops_of(headers: Mapping[str, str], *, from_peer: bool) -> Hops:
    """How a request has come here. What makes no sense counts as one hop."""
    told = headers.get(FORWARDED, "0")
    asked = tuple(name for name in headers.get(ASKED, "").split(",") if name)
    count = int(told) if told.isascii() and told.isdecimal() and len(told) < 4 else 1
    return Hops(count=count, asked=asked, from_peer=from_peer)


def kept_back_of_peer(status: int, headers: Mapping[str, str]) -> Outcome | None:
    """How the answer of a pod that was meant is to be taken, if the client must not see it.

    An answer that names no version, not even none, is not an agent's at all.
    """
    if VERSION not in headers:
        return Outcome.DECLINED
    return _kept_back(status, headers, LEFT_BY_PEERS)


def kept_back_of_service(status: int, headers: Mapping[str, str]) -> Outcome | None:
    """How the answer of whoever is behind a Service is to be taken, if the client must not see it."""
    return _kept_back(status, headers, LEFT_BY_SERVICES)


def _kept_back(status: int, headers: Mapping[str, str], statuses: frozenset[int]) -> Outcome | None:
    if headers.get(VERSION) != NO_VERSION or status not in statuses:
        return None
    if DIED in headers:
        return Outcome.DIED
    if status == UNKNOWN_HERE:
        return Outcome.REFUSED
    return Outcome.LOST if ASKED in headers else Outcome.DECLINED
