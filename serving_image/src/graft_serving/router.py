"""The OpenAI API of the pod: an allow-list of paths in front of the engine, and aliases in place of engine names."""

import contextlib
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from graft_serving import routing
from graft_serving.answers import ModelName
from graft_serving.metrics import BASE_VERSION, Metrics
from graft_serving.openai_errors import error_response
from graft_serving.relay import Call, Relayed, UpstreamLostError, relay
from graft_serving.routing import RoutingTable
from graft_serving.versions import Traffic, VersionKey

GENERATION_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
FORWARDED_HEADER = "X-Graft-Forwarded"
SESSION_HEADER = "X-Graft-Session"
VERSION_HEADER = "X-Graft-Version"
BASE_HEADER = "X-Graft-Base"
_TO_ENGINE = frozenset({"accept", "traceparent", "tracestate", "x-request-id"})
_NOT_FORWARDED = frozenset(
    {"connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "te", "transfer-encoding"}
)


class Pod(Protocol):
    """What the router needs to know of the rest of the agent."""

    @property
    def table(self) -> RoutingTable:
        """Who answers what, right now."""

    @property
    def engine_base_model(self) -> str | None:
        """The engine's own name for the base."""

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
        self, *, pod: Pod, session: aiohttp.ClientSession, engine_url: str, base_digest: str, metrics: Metrics
    ) -> None:
        """Route to the engine at `engine_url` and to other Services, both through `session`."""
        self._pod = pod
        self._session = session
        self._engine_url = engine_url.rstrip("/")
        self._base_label = base_digest.removeprefix("sha256:")[:12]
        self._metrics = metrics
        self._base_traffic = Traffic()
        self.is_stopping = False
        """Set at the end of the pod's life: clients are told to connect elsewhere the next time."""

    def application(self, *, max_body_bytes: int) -> web.Application:
        """The web application. Paths that it doesn't list never reach the engine."""
        app = web.Application(client_max_size=max_body_bytes)
        for path in GENERATION_PATHS:
            app.router.add_post(path, self._generate)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_route("*", "/{path:.*}", self._unknown_path)
        app.on_response_prepare.append(self._mark)
        return app

    async def _mark(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.setdefault(BASE_HEADER, self._base_label)
        if self.is_stopping:
            response.headers["Connection"] = "close"
            response.force_close()

    async def _unknown_path(self, request: web.Request) -> web.StreamResponse:
        served = ", ".join(f"POST {path}" for path in GENERATION_PATHS)
        return self._reject(
            404, "path_not_served", f"{request.method} on this path is not served. Served: {served}, GET /v1/models."
        )

    async def _list_models(self, _: web.Request) -> web.StreamResponse:
        table = self._pod.table
        cards: list[dict[str, Any]] = [_card(table.base_name, root=f"{table.base_name}@base")]
        for name, alias in sorted(table.aliases.items()):
            if alias.live:
                shares = [{"number": share.version.number, "weight": share.weight} for share in alias.live]
                root = routing.heaviest(alias.live).version.label
                cards.append(_card(name, root=root, parent=table.base_name, versions=shares))
            elif alias.forward_to:
                cards.append(_card(name, root=name, parent=table.base_name))
        return web.json_response({"object": "list", "data": cards})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            return self._reject(413, "request_too_large", f"The request body is too large: {error.text}")
        try:
            document = json.loads(body)
            model = document["model"]
        except (ValueError, RecursionError):
            return self._reject(400, "invalid_json", "The request body must be JSON.")
        except (TypeError, KeyError):
            model = None
        if not isinstance(model, str):
            return self._reject(400, "model_missing", "Set the field model to one of the names of GET /v1/models.")
        decision = routing.resolve(
            self._pod.table, model, bucket=_bucket(request, model), forwarded=FORWARDED_HEADER in request.headers
        )
        match decision:
            case routing.ToVersion() | routing.ToBase():
                return await self._ask_engine(request, document, body, self._target(decision, model))
            case _:
                return await self._answer_elsewhere(request, body, decision)

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
        self, request: web.Request, document: dict[str, Any], body: bytes, target: Target
    ) -> web.StreamResponse:
        model = document["model"]
        call = Call(
            url=self._engine_url + _upstream_path(request),
            body=json.dumps({**document, "model": target.engine_model}).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                **{name: value for name, value in request.headers.items() if name.lower() in _TO_ENGINE},
            },
            model_name=ModelName(target.engine_model, model) if target.engine_model != model else None,
            added_headers={VERSION_HEADER: target.label},
            lost_model=target.engine_model,
        )
        with self._counted(target):
            started = time.perf_counter()
            try:
                relayed = await relay(self._session, request, call)
            except UpstreamLostError:
                self._pod.suspect_engine()
            else:
                self._record(target, relayed, time.perf_counter() - started)
                return relayed.response
        elsewhere = routing.resolve_elsewhere(self._pod.table, model, forwarded=FORWARDED_HEADER in request.headers)
        return await self._answer_elsewhere(request, body, elsewhere)

    async def _answer_elsewhere(
        self, request: web.Request, body: bytes, decision: routing.Decision
    ) -> web.StreamResponse:
        match decision:
            case routing.Forward(url):
                return await self._forward(request, body, url)
            case routing.NotFound(message):
                return self._reject(404, "model_not_found", message)
            case routing.Unavailable(message):
                return self._unavailable(message)
        raise AssertionError(f"the engine answers {decision}")

    async def _forward(self, request: web.Request, body: bytes, url: str) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
        call = Call(
            url=url + _upstream_path(request),
            body=body,
            headers={**headers, FORWARDED_HEADER: "1"},
            added_headers={},
        )
        try:
            relayed = await relay(self._session, request, call)
        except UpstreamLostError as error:
            self._metrics.forwards.labels("failed").inc()
            return self._unavailable(f"The model is not loaded here, and {url} can't be reached: {error}")
        self._metrics.forwards.labels("answered").inc()
        return relayed.response

    @contextlib.contextmanager
    def _counted(self, target: Target) -> Iterator[None]:
        gauge = self._metrics.inflight.labels(target.adapter, target.version)
        target.traffic.inflight += 1
        gauge.inc()
        try:
            yield
        finally:
            target.traffic.inflight -= 1
            gauge.dec()
            if target.key is not None and target.traffic.inflight == 0:
                self._pod.went_idle(target.key)

    def _record(self, target: Target, relayed: Relayed, seconds: float) -> None:
        labels = (target.adapter, target.version)
        status = f"{relayed.status // 100}xx" if relayed.complete else "broken"
        target.traffic.requests += 1
        if relayed.status >= 500 or not relayed.complete:
            target.traffic.errors += 1
            self._pod.suspect_engine()
        self._metrics.requests.labels(*labels, status).inc()
        self._metrics.latency.labels(*labels).observe(seconds)
        self._metrics.first_byte.labels(*labels).observe(relayed.first_byte_seconds)
        if relayed.usage is not None:
            self._metrics.tokens.labels(*labels, "prompt").inc(relayed.usage.prompt)
            self._metrics.tokens.labels(*labels, "completion").inc(relayed.usage.completion)

    def _unavailable(self, message: str) -> web.Response:
        return self._reject(503, "model_unavailable", message, {"Retry-After": str(routing.RETRY_AFTER_SECONDS)})

    def _reject(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        self._metrics.rejected.labels(str(status)).inc()
        return error_response(status, code, message, headers=headers)


def _bucket(request: web.Request, model: str) -> float:
    session = request.headers.get(SESSION_HEADER)
    return routing.session_bucket(model, session) if session else random.random()  # noqa: S311 - not a secret


def _upstream_path(request: web.Request) -> str:
    """The path of the matched route, never the client's own spelling of it."""
    resource = request.match_info.route.resource
    assert resource is not None
    return resource.canonical


def _card(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "graft", **fields}
