"""Sends a request to its targets, one after the other, within a budget of tries and of time; records each try."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from graft_serving.proxy import headers
from graft_serving.proxy.answers import ModelName
from graft_serving.proxy.attempts import (
    UNKNOWN_POD,
    Attempts,
    Hops,
    Outcome,
    Service,
    Target,
    ThisEngine,
    Try,
    next_target,
)
from graft_serving.proxy.body import RequestBody
from graft_serving.proxy.ejection import Ejections
from graft_serving.proxy.engine_target import EngineTarget
from graft_serving.proxy.relay import Call, Relayed, relay
from graft_serving.proxy.reports import in_words, told_of
from graft_serving.proxy.routing import Peer, ToBase, ToVersion
from graft_serving.telemetry.answered import Caller
from graft_serving.telemetry.metrics import BASE_VERSION, Metrics
from graft_serving.telemetry.tracing import NoTracing, Tracing
from graft_serving.telemetry.traffic import Traffic
from graft_serving.versions import VersionKey

logger = logging.getLogger(__name__)

SEARCH_SECONDS = 5.0
"""How long to look for somebody who answers. Each node learns by itself, and some time after the operator, that pods
are ready; until then a Service refuses connections. While a pod's engine is down, its Service goes on choosing it until
the kubelet has seen that it is not ready."""
_FIRST_PAUSE: Final = 0.05
"""Before a Service is asked again; each further one is twice as long: where no pod is able, all that look for one must
not keep the agents busy."""
_LONGEST_PAUSE: Final = 0.8


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

    @property
    def ejections(self) -> Ejections:
        """Which other pods to ask last."""

    def client_waits(self) -> AbstractContextManager[None]:
        """A client waits for the engine until the block ends."""

    def engine_lives(self) -> None:
        """The engine has given a client a part of an answer."""

    def suspect_engine(self) -> None:
        """A request failed on the engine."""

    def engine_is_dying(self) -> None:
        """The engine has said that its core is gone."""

    async def engine_survives(self) -> bool:
        """Whether the engine, which has just lost a request, still answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedRequest:
    """One request, as all its tries need it."""

    request: web.Request
    path: str
    """Of the route, never the client's own spelling of it."""
    body: RequestBody
    release: Callable[[], None]
    """Gives the room of the body back."""
    caller: Caller
    is_of_pod: bool
    """Whether another pod of the base has sent it on, and reads the answer for the client."""
    hops: Hops

    def forget_body(self) -> None:
        """Give its room back: something has reached the client, so nobody else will need it."""
        self.body.members.clear()
        self.release()


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
        own_token: Callable[[], str | None],
        tracing: Tracing | None = None,
    ) -> None:
        """Send through `session`; count in `metrics`; one try takes up to `request_seconds`.

        `own_token` tells what shows to other pods that this is a pod of the base; None if there is nothing. `tracing`
        makes a span of each try.
        """
        self._session = session
        self._pod = pod
        self._metrics = metrics
        self._engine_url = engine_url.rstrip("/")
        self._request_seconds = request_seconds
        self._own_token = own_token
        self._tracing = tracing or NoTracing()
        self._base_traffic = Traffic()

    async def dispatch(
        self, proxied: ProxiedRequest, planned: Attempts
    ) -> tuple[web.StreamResponse | None, tuple[Try, ...]]:
        """Try the targets until one answers; the answer, or None, and the record of the tries."""
        tries: list[Try] = []
        deadline, pause = time.monotonic() + SEARCH_SECONDS, _FIRST_PAUSE
        while (target := next_target(planned, tries, proxied.hops)) is not None:
            if tries and tries[-1].target == target:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            began = time.monotonic()
            if tries and began >= deadline:
                break
            relayed = await self._traced(proxied, target, tries)
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
            logger.info("nobody answers for model=%s: %s", proxied.body.model, in_words(tries))
        return None, tuple(tries)

    async def _traced(self, proxied: ProxiedRequest, target: Target, tries: list[Try]) -> Relayed:
        model, pod = proxied.body.model, self._name_of(target)
        with self._tracing.tried(proxied.path, proxied.request.headers, adapter=model, pod=pod) as span:
            relayed = await self._try(proxied, target, tries, span.headers)
            if span.headers:
                span.end(relayed.outcome, failed=relayed.has_failed, told=told_of(relayed))
        return relayed

    async def _try(
        self, proxied: ProxiedRequest, target: Target, tries: list[Try], trace: Mapping[str, str]
    ) -> Relayed:
        if isinstance(target, ThisEngine):
            return await self._ask_engine(proxied, self._engine_target(target.answer, proxied.body.model), trace)
        relayed = await self._send_on(proxied, target, tries, trace)
        self._metrics.forwarded(relayed.outcome)
        if isinstance(target, Peer):
            # What breaks off in the midst is lost, too, although the client has had a part of it.
            self._pod.ejections.tried(target.name, Outcome.LOST if relayed.broke_off else relayed.outcome)
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
            is_named=answer.is_named,
        )

    async def _ask_engine(self, proxied: ProxiedRequest, target: EngineTarget, trace: Mapping[str, str]) -> Relayed:
        model = proxied.body.model
        call = Call(
            url=self._engine_url + proxied.path,
            body=proxied.body.naming(target.engine_model),
            headers=headers.traced(headers.for_engine(proxied.request.headers), trace),
            seconds=self._request_seconds,
            must_be_read=not proxied.is_of_pod,
            model_name=ModelName(target.engine_model, model) if target.engine_model != model else None,
            added_headers={headers.VERSION: target.label},
            engine_model=target.engine_model,
            kept_back=_nothing,
            on_first_byte=proxied.forget_body,
            on_sign_of_life=self._pod.engine_lives,
        )
        with (
            self._pod.client_waits(),
            target.traffic.under_way(partial(self._went_idle, target)),
            self._metrics.under_way(*target.labels),
        ):
            relayed = await relay(self._session, proxied.request, call)
            self._record(target, proxied.caller, relayed)
        if relayed.outcome is Outcome.LOST and not await self._pod.engine_survives():
            return Relayed(outcome=Outcome.DIED, detail=relayed.detail)
        return relayed

    async def _send_on(
        self, proxied: ProxiedRequest, target: Peer | Service, tries: list[Try], trace: Mapping[str, str]
    ) -> Relayed:
        lost_by = [self._name_of(tried.target) for tried in tries if tried.outcome is Outcome.LOST]
        sent = headers.for_pod(proxied.request.headers, proxied.hops.sent_on(lost_by), proxied.caller.client)
        if isinstance(target, Peer):
            sent[headers.POD] = target.name
        else:
            # A Service chooses a pod for each connection: one that is kept would lead to the same pod again.
            sent["Connection"] = "close"
        if token := self._own_token():
            sent[headers.PEER] = token
        call = Call(
            url=target.url + proxied.path,
            body=proxied.body.naming(proxied.body.model),
            headers=headers.traced(sent, trace),
            seconds=self._request_seconds,
            must_be_read=not proxied.is_of_pod,
            added_headers={},
            kept_back=headers.kept_back_of_peer if isinstance(target, Peer) else headers.kept_back_of_service,
            on_first_byte=proxied.forget_body,
            on_sign_of_life=_unheard,
        )
        return await relay(self._session, proxied.request, call)

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

    def _record(self, target: EngineTarget, caller: Caller, relayed: Relayed) -> None:
        if relayed.is_dying:
            self._pod.engine_is_dying()
        match relayed.outcome:
            case Outcome.ANSWERED:
                if (answered := relayed.answered) is None:
                    # The client is gone, or does not read: neither is an answer.
                    return
                target.traffic.count(caller, answered, is_measured=not target.is_named)
                self._metrics.answered(*target.labels, answered)
                if answered.failed:
                    self._pod.suspect_engine()
            case Outcome.UNREACHABLE | Outcome.DECLINED | Outcome.REFUSED:
                self._pod.suspect_engine()
            case _:
                target.traffic.count(caller, None, is_measured=not target.is_named)
                self._metrics.lost(*target.labels)
                self._pod.suspect_engine()


def _nothing(_: int, __: Mapping[str, str]) -> None:
    """An engine's answers are all for the client."""
    return


def _unheard() -> None:
    """Another pod's engine is watched by that pod."""
