"""Carries out where a request may go: one loop, with a budget of tries and of time, and a record of each try."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from graft_serving.proxy.answers import ModelName
from graft_serving.proxy.api_keys import KEY_HEADERS, PEER_HEADER, ApiKeys
from graft_serving.proxy.attempts import (
    UNKNOWN_POD,
    Attempts,
    Outcome,
    Service,
    Target,
    ThisEngine,
    Try,
    Way,
    next_target,
)
from graft_serving.proxy.body import RequestBody
from graft_serving.proxy.ejection import Ejections
from graft_serving.proxy.intake import Taken
from graft_serving.proxy.relay import Call, Relayed, relay
from graft_serving.proxy.routing import Peer, ToBase, ToVersion
from graft_serving.telemetry.answered import Asker
from graft_serving.telemetry.metrics import BASE_VERSION, Metrics
from graft_serving.telemetry.traffic import Traffic
from graft_serving.versions import VersionKey

logger = logging.getLogger(__name__)

FORWARDED_HEADER = "X-Graft-Forwarded"
"""How many steps from pod to pod a request has taken."""
ASKED_HEADER = "X-Graft-Asked"
"""The pods whose engines may have had the request, in requests and in answers that tell of a failure."""
DIED_HEADER = "X-Graft-Died"
"""In an answer: the engine died under the request."""
POD_HEADER = "X-Graft-Pod"
"""The pod that a peer means to ask: an address may be another pod's by now, which holds other adapters of that name."""
CLIENT_HEADER = "X-Graft-Client"
"""Who has asked, as the first pod knows it; believed on the port for pods only."""
VERSION_HEADER = "X-Graft-Version"
NO_VERSION = "none"
"""The version that answers name which came from no version: errors of the agent, and the list of models."""
SEARCH_SECONDS = 5.0
"""How long to look for somebody who answers. Each node learns by itself, and some time after the operator, that pods
are ready; until then a Service refuses connections. While a pod's engine is down, its Service goes on choosing it until
the kubelet has seen that it is not ready."""
_FIRST_PAUSE: Final = 0.05
"""Before a Service is asked again; each further one is twice as long: where no pod is able, all that look for one must
not keep the agents busy."""
_LONGEST_PAUSE: Final = 0.8
_TO_ENGINE = frozenset({"accept", "traceparent", "tracestate", "x-request-id"})
_OURS = (FORWARDED_HEADER, ASKED_HEADER, POD_HEADER, CLIENT_HEADER, PEER_HEADER)
_NOT_SENT_ON = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        *(name.lower() for name in (*_OURS, *KEY_HEADERS)),
    }
)
_LEFT_BY_PEERS: Final = frozenset({401, 404, 408, 421, 429, 503})
"""Statuses of a pod that was meant and leaves the request to others: it lacks the model, engine, room or key."""
_LEFT_BY_SERVICES: Final = frozenset({401, 429, 503})


class Pod(Protocol):
    """What the dispatch of requests needs to know of the rest of the agent, and tells it."""

    @property
    def name(self) -> str:
        """The pod's own name."""

    @property
    def engine_base_model(self) -> str | None:
        """The engine's own name for the base."""

    def traffic_of(self, key: VersionKey) -> Traffic:
        """The counters of a version that the table routes to."""

    def went_idle(self, key: VersionKey) -> None:
        """The last request under way on a version has ended; it may be waiting to be unloaded."""

    def engine_answered(self) -> None:
        """The engine has answered a request."""

    def suspect_engine(self) -> None:
        """A request failed on the engine."""

    def engine_is_dying(self) -> None:
        """The engine has said that its core is gone."""

    async def engine_survives(self) -> bool:
        """Whether the engine, which has just lost a request, still answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as all its tries need it."""

    request: web.Request
    path: str
    """Of the route, never the client's own spelling of it."""
    body: RequestBody
    taken: Taken
    asker: Asker
    way: Way

    def forget_body(self) -> None:
        """Give its room back: something has reached the client, so nobody else will need it."""
        self.body.members.clear()
        self.taken.give_back()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTarget:
    """What answers one request on this pod's engine; without a key it is the bare base."""

    key: VersionKey | None = None
    engine_model: str
    label: str
    adapter: str
    version: str
    traffic: Traffic = field(default_factory=Traffic)


class Dispatcher:
    """Sends requests to the engine, to other pods and to Services, and their answers back as they come."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pod: Pod,
        metrics: Metrics,
        *,
        engine_url: str,
        request_seconds: float,
        keys: ApiKeys | None,
    ) -> None:
        """Send through `session`; count in `metrics`; one try takes up to `request_seconds`."""
        self._session = session
        self._pod = pod
        self._metrics = metrics
        self._engine_url = engine_url.rstrip("/")
        self._request_seconds = request_seconds
        self._keys = keys
        self._base_traffic = Traffic()
        self.ejections = Ejections()

    async def dispatch(self, asked: Asked, planned: Attempts) -> tuple[web.StreamResponse | None, tuple[Try, ...]]:
        """Try the targets until one answers; the answer, or None, and the record of the tries."""
        tries: list[Try] = []
        deadline, pause = time.monotonic() + SEARCH_SECONDS, _FIRST_PAUSE
        while (target := next_target(planned, tries, asked.way)) is not None:
            if tries and tries[-1].target == target:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            began = time.monotonic()
            if tries and began >= deadline:
                break
            relayed = await self._try(asked, target, tries)
            tries.append(
                Try(
                    target=target,
                    outcome=relayed.outcome,
                    seconds=time.monotonic() - began,
                    detail=relayed.detail,
                )
            )
            if relayed.response is not None:
                return relayed.response, tuple(tries)
        if tries:
            logger.info("nobody answers for model=%s: %s", asked.body.model, in_words(tries))
        return None, tuple(tries)

    async def _try(self, asked: Asked, target: Target, tries: list[Try]) -> Relayed:
        if isinstance(target, ThisEngine):
            return await self._ask_engine(asked, self._engine_target(target.answer, asked.body.model))
        relayed = await self._send_on(asked, target, tries)
        self._metrics.forwarded(relayed.outcome)
        if isinstance(target, Peer):
            failed = relayed.outcome in (Outcome.UNREACHABLE, Outcome.LOST)
            (self.ejections.failed if failed else self.ejections.answered)(target.name)
        return relayed

    def _engine_target(self, answer: ToVersion | ToBase, model: str) -> EngineTarget:
        if isinstance(answer, ToBase):
            return EngineTarget(
                engine_model=self._pod.engine_base_model or model,
                label=f"{model}@base",
                adapter=model,
                version=BASE_VERSION,
                traffic=self._base_traffic,
            )
        key = answer.key
        return EngineTarget(
            key=key,
            engine_model=key.engine_name,
            label=key.label,
            adapter=key.adapter,
            version=f"v{key.number}",
            traffic=self._pod.traffic_of(key),
        )

    async def _ask_engine(self, asked: Asked, target: EngineTarget) -> Relayed:
        model = asked.body.model
        call = Call(
            url=self._engine_url + asked.path,
            body=asked.body.naming(target.engine_model),
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                **{name: value for name, value in asked.request.headers.items() if name.lower() in _TO_ENGINE},
            },
            seconds=self._request_seconds,
            model_name=ModelName(target.engine_model, model) if target.engine_model != model else None,
            added_headers={VERSION_HEADER: target.label},
            engine_model=target.engine_model,
            kept_back=_nothing,
            on_first_byte=asked.forget_body,
        )
        with target.traffic.under_way(partial(self._went_idle, target)), self._metrics.under_way(*_labels(target)):
            relayed = await relay(self._session, asked.request, call)
            self._record(target, asked.asker, relayed)
        if relayed.outcome is Outcome.LOST and not await self._pod.engine_survives():
            return Relayed(outcome=Outcome.DIED, detail=relayed.detail)
        return relayed

    async def _send_on(self, asked: Asked, target: Peer | Service, tries: list[Try]) -> Relayed:
        lost_by = [self._name_of(tried.target) for tried in tries if tried.outcome is Outcome.LOST]
        way = asked.way.sent_on(lost_by)
        headers = {name: value for name, value in asked.request.headers.items() if name.lower() not in _NOT_SENT_ON}
        headers |= {FORWARDED_HEADER: str(way.steps), CLIENT_HEADER: asked.asker.client}
        if way.asked:
            headers[ASKED_HEADER] = ",".join(way.asked)
        url = target.url
        if isinstance(target, Peer):
            headers[POD_HEADER] = target.name
        else:
            # A Service chooses a pod for each connection: one that is kept would lead to the same pod again.
            headers["Connection"] = "close"
        host = url.partition("://")[2]
        if self._keys is not None and (proof := self._keys.proof_for(proven_target(host, headers.get(POD_HEADER)))):
            headers[PEER_HEADER] = proof
        call = Call(
            url=url + asked.path,
            body=asked.body.naming(asked.body.model),
            headers=headers,
            seconds=self._request_seconds,
            added_headers={},
            kept_back=partial(_kept_back, statuses=_LEFT_BY_PEERS if isinstance(target, Peer) else _LEFT_BY_SERVICES),
            on_first_byte=asked.forget_body,
        )
        return await relay(self._session, asked.request, call)

    def _name_of(self, target: Target) -> str:
        match target:
            case ThisEngine():
                return self._pod.name
            case Peer(name):
                return name
            case _:
                return UNKNOWN_POD

    def _went_idle(self, target: EngineTarget) -> None:
        if target.key is not None:
            self._pod.went_idle(target.key)

    def _record(self, target: EngineTarget, asker: Asker, relayed: Relayed) -> None:
        if relayed.is_dying:
            self._pod.engine_is_dying()
        match relayed.outcome:
            case Outcome.ANSWERED:
                if (answered := relayed.answered) is None:
                    # The client is gone, or does not read: neither is an answer.
                    return
                target.traffic.count(asker, answered)
                self._metrics.answered(*_labels(target), answered)
                (self._pod.suspect_engine if answered.failed else self._pod.engine_answered)()
            case Outcome.UNREACHABLE | Outcome.DECLINED:
                self._pod.suspect_engine()
            case _:
                target.traffic.count(asker, None)
                self._metrics.lost(*_labels(target))
                self._pod.suspect_engine()


def in_words(tries: list[Try] | tuple[Try, ...]) -> str:
    """The record of the tries for a log or a message."""
    return "; ".join(f"{_place(tried.target)}: {tried.outcome} {tried.detail}".rstrip() for tried in tries)


def proven_target(host: str, pod: str | None) -> str:
    """What a proof of a pod is bound to: the address that is asked, and the pod that is meant there."""
    return f"{host}\n{pod or ''}"


def _place(target: Target) -> str:
    match target:
        case ThisEngine():
            return "this pod's engine"
        case Peer(name, url):
            return f"pod {name} at {url}"
        case Service(url):
            return url


def _labels(target: EngineTarget) -> tuple[str, str]:
    return target.adapter, target.version


def _nothing(_: aiohttp.ClientResponse) -> None:
    return None


def _kept_back(answer: aiohttp.ClientResponse, *, statuses: frozenset[int]) -> Outcome | None:
    """How an answer of another pod is to be taken that the client must not see.

    An answer that names no version, not even none, is not an agent's at all.
    """
    headers: Mapping[str, str] = answer.headers
    version = headers.get(VERSION_HEADER)
    if version is None:
        return Outcome.DECLINED if statuses is _LEFT_BY_PEERS else None
    if version != NO_VERSION or answer.status not in statuses:
        return None
    if DIED_HEADER in headers:
        return Outcome.DIED
    return Outcome.LOST if ASKED_HEADER in headers else Outcome.DECLINED
