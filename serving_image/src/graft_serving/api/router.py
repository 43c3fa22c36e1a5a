"""The API of the pod: an allow-list of paths in front of the engine, and aliases in place of engine names."""

import json
import random
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from graft_serving.api import cors, engine_signals
from graft_serving.api.authentication import CLIENT, IS_POD, Authentication
from graft_serving.api.engine_signals import EngineSignals
from graft_serving.api.errors import error_response
from graft_serving.api.intake import Intake, IntakeError, Reservation
from graft_serving.api.listening import MOST_HEADERS
from graft_serving.api.model_list import model_card, model_cards
from graft_serving.api.waiting_room import WaitingRoom
from graft_serving.proxy import dispatch, headers, routing
from graft_serving.proxy.attempts import Hops, Outcome, Refusal, Service, Try, attempts
from graft_serving.proxy.body import InvalidBodyError, RequestBody, parse_body
from graft_serving.proxy.dispatch import Dispatcher, ProxiedRequest
from graft_serving.proxy.routing import RoutingTable
from graft_serving.telemetry.answered import Caller
from graft_serving.telemetry.metrics import Metrics
from graft_serving.telemetry.pacing import Slices

GENERATION_PATHS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/score",
    "/v1/rerank",
    "/score",
    "/rerank",
    "/tokenize",
    "/detokenize",
)
"""The engine's routes that clients reach, and no others. Each takes a JSON object with the field `model`, and changes
nothing. No answer of `/v1/responses` can be fetched again: nothing tells which pod has it."""
SERVED: Final = ", ".join((*(f"POST {path}" for path in GENERATION_PATHS), "GET /v1/models", "GET /v1/models/{id}"))

SESSION_HEADER = "X-Graft-Session"
BASE_HEADER = "X-Graft-Base"
FOR_PEERS = web.AppKey("for_peers", bool)
"""Whether an application answers other pods of the base, which have sent the request on already."""
_NO_RETRY: Final = {"X-Should-Retry": "false"}
"""What the client libraries of OpenAI and Anthropic go by."""


class Pod(dispatch.Pod, Protocol):
    """What the router needs to know of the rest of the agent."""

    @property
    def table(self) -> RoutingTable:
        """Who answers what, right now."""

    @property
    def is_ready(self) -> bool:
        """Whether the pod should get requests."""

    def count_asked(self, model: str) -> None:
        """A client asks for this model, loaded or not."""

    async def wait_for_news(self, seconds: float) -> None:
        """Return when the table may be another one, or after so many seconds."""


class Router:
    """Answers the clients of one pod."""

    def __init__(
        self,
        *,
        pod: Pod,
        dispatcher: Dispatcher,
        base_digest: str,
        metrics: Metrics,
        authentication: Authentication,
        waiting_room: WaitingRoom,
        intake: Intake,
        signals: EngineSignals,
        cors_origins: Collection[str] = (),
    ) -> None:
        """Route by what `pod` knows.

        Who may ask says `authentication`. In `waiting_room` requests wait for adapters that are loaded on demand.
        Endpoint pickers read `signals`. Pages of `cors_origins` may ask from browsers.
        """
        self._pod = pod
        self._dispatcher = dispatcher
        self._base_digest = base_digest
        self._metrics = metrics
        self._authentication = authentication
        self._waiting_room = waiting_room
        self._intake = intake
        self._signals = signals
        self._cors_origins = cors_origins
        self.is_stopping = False
        """Set at the end of the pod's life: clients are told to connect elsewhere the next time."""

    def application(self, *, for_peers: bool = False) -> web.Application:
        """The web application, for clients or for other pods. Paths that it doesn't list never reach the engine."""
        before: list[Middleware] = [cors.cors(self._cors_origins)] if self._cors_origins and not for_peers else []
        behind: list[Middleware] = [self._meant_for_this_pod] if for_peers else []
        authenticated = self._authentication.of_peers if for_peers else self._authentication.of_clients
        app = web.Application(middlewares=[*before, authenticated, *behind])
        app[FOR_PEERS] = for_peers
        for path in GENERATION_PATHS:
            app.router.add_post(path, self._generate)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1/models/{model:(?s:.+)}", self._show_model)
        app.router.add_get("/", self._tell_health)
        app.router.add_get("/health", self._tell_health)
        if not for_peers:
            app.router.add_get(engine_signals.PATH, self._signals.show)
        app.router.add_route("*", "/{path:(?s:.*)}", self._unknown_path)
        app.on_response_prepare.append(self._mark)
        return app

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.setdefault(headers.VERSION, headers.NO_VERSION)
        response.headers.setdefault(BASE_HEADER, self._base_digest.removeprefix("sha256:")[:12])
        response.headers.update(cors.marks(request, self._cors_origins))
        if self.is_stopping:
            response.headers["Connection"] = "close"
            response.force_close()

    @web.middleware
    async def _meant_for_this_pod(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get(headers.POD) == self._pod.name:
            return await handler(request)
        message = f"This port is for other pods, which name the pod that they mean in {headers.POD}; use the Service."
        return self._reject(421, "not_this_pod", message)

    async def _unknown_path(self, request: web.Request) -> web.StreamResponse:
        return self._reject(404, "path_not_served", f"{request.method} on this path is not served. Served: {SERVED}.")

    async def _tell_health(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/" or self._pod.is_ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not ready\n")

    async def _list_models(self, _: web.Request) -> web.StreamResponse:
        slices, cards = Slices(), list[str]()
        for card in model_cards(self._pod.table, base_digest=self._base_digest):
            cards.append(json.dumps(card))
            await slices.pause_if_over()
        text = f'{{"object": "list", "data": [{", ".join(cards)}]}}'
        return web.Response(text=text, content_type="application/json")

    async def _show_model(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        card = model_card(self._pod.table, model, base_digest=self._base_digest)
        if card is None:
            return self._reject(404, "model_not_found", routing.unknown(self._pod.table, model))
        return web.json_response(card)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        if len(request.headers) > MOST_HEADERS and not request[IS_POD]:
            return self._reject(431, "too_many_headers", f"A request may have {MOST_HEADERS} headers; send fewer.")
        hops = headers.hops_of(request.headers, from_peer=request.app[FOR_PEERS])
        if self._pod.name in hops.asked:
            return self._unavailable(f"{self._pod.name} has had this request already.")
        try:
            body, reservation = await self._read(request)
        except (IntakeError, InvalidBodyError) as error:
            return self._refuse_body(error)
        try:
            return await self._answer(request, body, reservation, hops)
        finally:
            reservation.release()

    async def _read(self, request: web.Request) -> tuple[RequestBody, Reservation]:
        raw, reservation = await self._intake.read(request)
        try:
            return parse_body(raw), reservation
        except InvalidBodyError:
            reservation.release()
            raise

    def _refuse_body(self, error: IntakeError | InvalidBodyError) -> web.StreamResponse:
        if isinstance(error, InvalidBodyError):
            return self._reject(400, error.code, str(error))
        if error.status == 503:
            return self._unavailable(str(error), error.code)
        response = self._reject(error.status, error.code, str(error))
        # What is still to come of the body would be taken for the next request, or waited for.
        response.force_close()
        return response

    async def _answer(
        self, request: web.Request, body: RequestBody, reservation: Reservation, hops: Hops
    ) -> web.StreamResponse:
        resource = request.match_info.route.resource
        assert resource is not None
        session = request.headers.get(SESSION_HEADER) or body.user or None
        caller = Caller(request[CLIENT], session)
        proxied = ProxiedRequest(
            request=request,
            path=resource.canonical,
            body=body,
            release=reservation.release,
            caller=caller,
            is_of_pod=request[IS_POD],
            hops=hops,
        )
        self._pod.count_asked(body.model)
        decision = await self._waiting_room.decide(partial(self._decide, proxied), self._pod.wait_for_news)
        planned = attempts(
            self._pod.table,
            body.model,
            decision,
            hops,
            session=session,
            draw=random.random(),  # noqa: S311 - not a secret
            ejected=self._pod.ejections.names,
        )
        answer, tries = await self._dispatcher.dispatch(proxied, planned)
        return answer if answer is not None else self._give_up(hops, tries, planned.otherwise)

    def _decide(self, proxied: ProxiedRequest) -> routing.Decision:
        return routing.resolve(
            self._pod.table,
            proxied.body.model,
            session=proxied.caller.session,
            draw=random.random(),  # noqa: S311 - not a secret
            forwarded=proxied.hops.count > 0,
            from_peer=proxied.hops.from_peer,
        )

    def _give_up(self, hops: Hops, tries: tuple[Try, ...], refusal: Refusal) -> web.StreamResponse:
        """Say why nobody has answered; to other pods also who may have had the request."""
        outcomes = {tried.outcome for tried in tries}
        if Outcome.TIMED_OUT in outcomes:
            return self._reject(504, "timed_out", "The engine has not begun to answer in the time that a request has.")
        lost = Outcome.LOST in outcomes or Outcome.DIED in outcomes
        told = {headers.ASKED: self._pod.name} if lost and (hops.count or hops.from_peer) else {}
        if Outcome.DIED in outcomes:
            message = (
                "The engine died while it had this request. It was not sent to another one, since it may be the cause."
            )
            return self._unavailable(message, "engine_died", {**told, **_NO_RETRY, headers.DIED: "1"})
        if lost:
            return self._unavailable(
                "The request was lost on its way to an engine, and may have been begun there.", "request_lost", told
            )
        match refusal:
            case routing.NotFound(message):
                return self._reject(404, "model_not_found", message)
            case routing.NotLoaded(message):
                return self._unavailable(message, "adapter_not_loaded")
            case routing.Unavailable(message):
                return self._unavailable(_with_details(message, tries))

    def _unavailable(
        self, message: str, code: str = "model_unavailable", more: Mapping[str, str] | None = None
    ) -> web.Response:
        return self._reject(503, code, message, {"Retry-After": str(routing.RETRY_AFTER_SECONDS), **(more or {})})

    def _reject(self, status: int, code: str, message: str, more: Mapping[str, str] | None = None) -> web.Response:
        self._metrics.rejected(code)
        return error_response(status, code, message, headers=more)


def _with_details(message: str, tries: tuple[Try, ...]) -> str:
    services = {tried.target.url: tried for tried in tries if isinstance(tried.target, Service)}
    details = "; ".join(f"{url}: {tried.outcome} {tried.detail}".rstrip() for url, tried in services.items())
    return f"{message} ({details})" if details else message
