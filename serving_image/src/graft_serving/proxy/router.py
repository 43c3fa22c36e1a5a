"""The OpenAI API of the pod: an allow-list of paths in front of the engine, and aliases in place of engine names."""

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from graft_serving.proxy import routing
from graft_serving.proxy.answers import ModelName
from graft_serving.proxy.api_keys import ApiKeys
from graft_serving.proxy.forwarding import (
    FORWARDED_HEADER,
    NO_VERSION,
    POD_HEADER,
    VERSION_HEADER,
    Forwarder,
    upstream_path,
)
from graft_serving.proxy.generation_request import GenerationRequest, InvalidBodyError, parse_generation_request
from graft_serving.proxy.model_list import model_list
from graft_serving.proxy.openai_errors import error_response
from graft_serving.proxy.relay import Call, UpstreamLostError, relay
from graft_serving.proxy.routing import RoutingTable
from graft_serving.proxy.waiting_room import WaitingRoom
from graft_serving.telemetry.answered import Answered
from graft_serving.telemetry.metrics import BASE_VERSION, Metrics
from graft_serving.telemetry.traffic import Traffic
from graft_serving.versions import VersionKey

GENERATION_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
SESSION_HEADER = "X-Graft-Session"
BASE_HEADER = "X-Graft-Base"
FOR_PEERS = web.AppKey("for_peers", bool)
"""Whether an application answers other pods of the base, which have sent the request on already."""
_TO_ENGINE = frozenset({"accept", "traceparent", "tracestate", "x-request-id"})


class Pod(Protocol):
    """What the router needs to know of the rest of the agent."""

    @property
    def name(self) -> str:
        """The pod's own name."""

    @property
    def table(self) -> RoutingTable:
        """Who answers what, right now."""

    @property
    def engine_base_model(self) -> str | None:
        """The engine's own name for the base."""

    def count_asked(self, adapter: str) -> None:
        """A client asks for this model, loaded or not."""

    async def wait_for_news(self, seconds: float) -> None:
        """Return when the table may be another one, or after so many seconds."""

    def traffic_of(self, key: VersionKey) -> Traffic:
        """The counters of a version that the table routes to."""

    def went_idle(self, key: VersionKey) -> None:
        """The last request under way on a version has ended; it may be waiting to be unloaded."""

    def suspect_engine(self) -> None:
        """A request failed on the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What answers one request on this pod's engine; without a key it is the bare base."""

    key: VersionKey | None = None
    engine_model: str
    label: str
    adapter: str
    version: str
    traffic: Traffic = field(default_factory=Traffic)


class Router:
    """Answers the clients of one pod."""

    def __init__(
        self,
        *,
        pod: Pod,
        session: aiohttp.ClientSession,
        engine_url: str,
        base_digest: str,
        metrics: Metrics,
        keys: ApiKeys | None,
        waiting_room: WaitingRoom,
    ) -> None:
        """Route to the engine at `engine_url` and to other Services, both through `session`.

        Without `keys` everybody may ask. In `waiting_room` requests wait for adapters that are loaded on demand.
        """
        self._pod = pod
        self._session = session
        self._forwarder = Forwarder(session, metrics)
        self._engine_url = engine_url.rstrip("/")
        self._base_digest = base_digest
        self._metrics = metrics
        self._keys = keys
        self._waiting_room = waiting_room
        self._base_traffic = Traffic()
        self.is_stopping = False
        """Set at the end of the pod's life: clients are told to connect elsewhere the next time."""

    def application(self, *, max_body_bytes: int, for_peers: bool = False) -> web.Application:
        """The web application, for clients or for other pods. Paths that it doesn't list never reach the engine."""
        meant, authenticated = [self._meant_for_this_pod], [self._authenticated]
        middlewares = (meant if for_peers else []) + (authenticated if self._keys else [])
        app = web.Application(client_max_size=max_body_bytes, middlewares=middlewares)
        app[FOR_PEERS] = for_peers
        for path in GENERATION_PATHS:
            app.router.add_post(path, self._generate)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_route("*", "/{path:.*}", self._unknown_path)
        app.on_response_prepare.append(self._mark)
        return app

    async def _mark(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.setdefault(VERSION_HEADER, NO_VERSION)
        response.headers.setdefault(BASE_HEADER, self._base_digest.removeprefix("sha256:")[:12])
        if self.is_stopping:
            response.headers["Connection"] = "close"
            response.force_close()

    @web.middleware
    async def _meant_for_this_pod(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get(POD_HEADER) == self._pod.name:
            return await handler(request)
        message = f"This port is for other pods, which name the pod that they mean in {POD_HEADER}; use the Service."
        return self._reject(421, "not_this_pod", message)

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        assert self._keys is not None
        if self._keys.accept(request.headers.get("Authorization")):
            return await handler(request)
        return self._reject(
            401,
            "invalid_api_key",
            "Send one of this service's API keys in the header Authorization: Bearer <key>.",
            {"WWW-Authenticate": "Bearer"},
        )

    async def _unknown_path(self, request: web.Request) -> web.StreamResponse:
        served = ", ".join(f"POST {path}" for path in GENERATION_PATHS)
        return self._reject(
            404, "path_not_served", f"{request.method} on this path is not served. Served: {served}, GET /v1/models."
        )

    async def _list_models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(model_list(self._pod.table, base_digest=self._base_digest))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
            asked = parse_generation_request(body)
        except web.HTTPRequestEntityTooLarge as error:
            return self._reject(413, "request_too_large", f"The request body is too large: {error.text}")
        except InvalidBodyError as error:
            return self._reject(400, error.code, str(error))
        self._pod.count_asked(asked.model)
        decision = await self._waiting_room.decide(partial(self._decide, request, asked), self._pod.wait_for_news)
        match decision:
            case routing.ToVersion() | routing.ToBase():
                return await self._ask_engine(request, asked, body, self._target(decision, asked.model))
            case _:
                return await self._answer_elsewhere(request, asked, body, decision)

    def _decide(self, request: web.Request, asked: GenerationRequest) -> routing.Decision:
        return routing.resolve(
            self._pod.table,
            asked.model,
            session=_session(request, asked),
            draw=random.random(),  # noqa: S311 - not a secret
            forwarded=FORWARDED_HEADER in request.headers,
            from_peer=request.app[FOR_PEERS],
        )

    def _target(self, decision: routing.ToVersion | routing.ToBase, model: str) -> Target:
        if isinstance(decision, routing.ToBase):
            return Target(
                engine_model=self._pod.engine_base_model or model,
                label=f"{model}@base",
                adapter=model,
                version=BASE_VERSION,
                traffic=self._base_traffic,
            )
        key = decision.key
        return Target(
            key=key,
            engine_model=key.engine_name,
            label=key.label,
            adapter=key.adapter,
            version=f"v{key.number}",
            traffic=self._pod.traffic_of(key),
        )

    async def _ask_engine(
        self, request: web.Request, asked: GenerationRequest, body: bytes, target: Target
    ) -> web.StreamResponse:
        renamed = target.engine_model != asked.model
        call = Call(
            url=self._engine_url + upstream_path(request),
            body=asked.body_for(target.engine_model) if renamed else body,
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                **{name: value for name, value in request.headers.items() if name.lower() in _TO_ENGINE},
            },
            model_name=ModelName(target.engine_model, asked.model) if renamed else None,
            added_headers={VERSION_HEADER: target.label},
            lost_model=target.engine_model,
        )
        under_way = target.traffic.under_way(partial(self._went_idle, target))
        with under_way, self._metrics.under_way(target.adapter, target.version):
            try:
                relayed = await relay(self._session, request, call)
            except UpstreamLostError:
                self._record_lost(target)
            else:
                if relayed.answered is not None:
                    self._record(target, relayed.answered)
                return relayed.response
        elsewhere = routing.resolve_elsewhere(
            self._pod.table,
            asked.model,
            forwarded=FORWARDED_HEADER in request.headers,
            from_peer=request.app[FOR_PEERS],
        )
        return await self._answer_elsewhere(request, asked, body, elsewhere)

    async def _answer_elsewhere(
        self, request: web.Request, asked: GenerationRequest, body: bytes, decision: routing.Decision
    ) -> web.StreamResponse:
        match decision:
            case routing.AskPeers(peers, otherwise):
                draw = random.random()  # noqa: S311 - not a secret
                for peer in routing.in_turn(peers, _session(request, asked), draw):
                    if (answer := await self._forwarder.to_peer(request, body, peer)) is not None:
                        return answer
                return await self._answer_elsewhere(request, asked, body, otherwise)
            case routing.Forward(url):
                return await self._ask_service(request, body, url)
            case routing.NotFound(message):
                return self._reject(404, "model_not_found", message)
            case routing.NotLoaded(message):
                return self._unavailable(message, "adapter_not_loaded")
            case routing.Unavailable(message):
                return self._unavailable(message)
        raise AssertionError(f"the engine answers {decision}")

    async def _ask_service(self, request: web.Request, body: bytes, url: str) -> web.StreamResponse:
        try:
            return await self._forwarder.to_service(request, body, url)
        except UpstreamLostError as error:
            return self._unavailable(f"The model is not loaded here, and {url} can't be reached: {error}")

    def _went_idle(self, target: Target) -> None:
        if target.key is not None:
            self._pod.went_idle(target.key)

    def _record(self, target: Target, answered: Answered) -> None:
        target.traffic.count(answered)
        if answered.failed:
            self._pod.suspect_engine()
        self._metrics.answered(target.adapter, target.version, answered)

    def _record_lost(self, target: Target) -> None:
        target.traffic.count_lost()
        self._pod.suspect_engine()
        self._metrics.lost(target.adapter, target.version)

    def _unavailable(self, message: str, code: str = "model_unavailable") -> web.Response:
        return self._reject(503, code, message, {"Retry-After": str(routing.RETRY_AFTER_SECONDS)})

    def _reject(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self._metrics.rejected(code)
        return error_response(status, code, message, headers=headers)


def _session(request: web.Request, asked: GenerationRequest) -> str | None:
    return request.headers.get(SESSION_HEADER) or asked.user or None
