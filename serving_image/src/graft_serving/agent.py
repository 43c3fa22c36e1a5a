"""The agent as one object: its parts composed, and how they start and stop together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Self

import aiohttp

from graft_registry.s3.store import ObjectStore
from graft_serving.adapters.asking import ProofPrompts
from graft_serving.adapters.base_answers import BaseAnswers
from graft_serving.adapters.bring_up import BringUpSequence
from graft_serving.adapters.lifecycle import Lifecycle, LifecycleSettings
from graft_serving.adapters.saved_state import SavedState
from graft_serving.adapters.scoring import Scoring
from graft_serving.api.api_keys import ApiKeys
from graft_serving.api.authentication import Authentication
from graft_serving.api.engine_signals import EngineSignals
from graft_serving.api.intake import Intake
from graft_serving.api.listening import listening
from graft_serving.api.router import Router
from graft_serving.api.waiting_room import WaitingRoom
from graft_serving.cluster_api import ApiAccess
from graft_serving.engine.client import EngineClient
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.modes import ServingMode, engine_client, serving_mode
from graft_serving.peers.identity import PeerIdentity
from graft_serving.proxy.connections import upstream_session
from graft_serving.proxy.dispatch import Dispatcher
from graft_serving.settings import Settings
from graft_serving.status.admin import admin_application
from graft_serving.status.pod import ServingPod
from graft_serving.telemetry.metrics import BASE_VERSION, Metrics
from graft_serving.telemetry.tracing import Tracing, tracing_to

logger = logging.getLogger(__name__)

SAVED_STATE_FOLDER = ".agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The agent's HTTP sessions. Each has connections of its own, so that none waits for another's."""

    control: aiohttp.ClientSession
    """Loads and proofs."""
    watch: aiohttp.ClientSession
    """What tells whether the engine lives."""
    proxied: aiohttp.ClientSession
    """The requests of clients."""
    tracing: Tracing
    """Spans of the requests of clients."""


class Agent:
    """One pod's agent. Use `running` around whatever decides when it ends."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_store: Callable[[], ObjectStore],
        wanted_sets: AsyncIterator[bytes],
        sessions: Sessions,
        api: ApiAccess | None,
    ) -> None:
        """Compose the agent; the registry's store is opened whenever a version is fetched."""
        self._settings = settings
        self._wanted_sets = wanted_sets
        mode = serving_mode(settings, open_store)
        metrics = _metrics(mode)
        engine = engine_client(settings, sessions.control)
        watched = engine_client(settings, sessions.watch, mode.engine)
        self._monitor = EngineMonitor(
            watched, poll_seconds=settings.engine_poll_seconds, on_change=self._engine_changed
        )
        saved_state = SavedState(settings.adapters_dir / SAVED_STATE_FOLDER)
        self.lifecycle = Lifecycle(
            _lifecycle_settings(settings, mode),
            cache=mode.versions,
            bring_up=_bring_up_sequence(settings, mode, engine, self._monitor, saved_state, metrics),
            monitor=self._monitor,
            saved_state=saved_state,
            observer=metrics,
            on_reconciled=self._reconciled,
        )
        self._pod = _serving_pod(settings, mode, self.lifecycle, self._monitor)
        self._scoring = self._composed_scoring(mode, engine)
        self._peers = PeerIdentity.composed(settings.peer_group, settings.peer_token_file, api)
        self.router = _router(settings, mode, self._pod, watched, sessions, metrics, self._peers)
        self._admin = admin_application(
            state=self._pod.state,
            revision=self._pod.revision,
            is_ready=lambda: self.is_ready,
            metrics=metrics.exposed,
        )

    @property
    def is_ready(self) -> bool:
        """Whether the pod should get requests."""
        return self.lifecycle.is_ready and not self.router.is_stopping

    @classmethod
    @contextlib.asynccontextmanager
    async def composed(
        cls,
        settings: Settings,
        *,
        open_store: Callable[[], ObjectStore],
        wanted_sets: AsyncIterator[bytes],
        api: ApiAccess | None = None,
    ) -> AsyncIterator[Self]:
        """An agent with its HTTP sessions, which are closed at the end."""
        async with aiohttp.ClientSession() as control, aiohttp.ClientSession() as watch, upstream_session() as proxied:
            tracing = tracing_to(
                settings.otlp_endpoint, settings.trace_sample_ratio, settings.pod, settings.namespace or ""
            )
            sessions = Sessions(control=control, watch=watch, proxied=proxied, tracing=tracing)
            try:
                yield cls(settings, open_store=open_store, wanted_sets=wanted_sets, sessions=sessions, api=api)
            finally:
                await asyncio.to_thread(tracing.shut_down)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the agent until the block ends; then serve on for the drain time and let requests finish.

        Raises:
            OSError: a port is taken.
        """
        settings = self._settings
        api, for_peers = self.router.application(), self.router.application(for_peers=True)
        self.lifecycle.restore()
        work = [self._monitor.run(), self.lifecycle.run(), self._scoring.run(), self._follow_wanted_sets()]
        async with (
            _background(*work, *([self._peers.run()] if self._peers else [])),
            listening(settings.listen, (settings.admin_port, self._admin), shutdown_seconds=1.0),
            listening(
                settings.listen,
                (settings.api_port, api),
                (settings.peer_port, for_peers),
                shutdown_seconds=settings.shutdown_seconds,
            ),
        ):
            yield
            self.router.is_stopping = True
            logger.info("stopping: serving on for %g s", settings.drain_seconds)
            await asyncio.sleep(settings.drain_seconds)

    def _composed_scoring(self, mode: ServingMode, engine: EngineClient) -> Scoring:
        return Scoring(
            lifecycle=self.lifecycle,
            cache=mode.versions,
            engine=engine,
            monitor=self._monitor,
            retry_seconds=self._settings.retry_seconds,
            on_scored=self._pod.refresh,
        )

    def _engine_changed(self) -> None:
        # At once: the pod must not be told to be ready before its router knows that the engine answers.
        self._pod.refresh()
        self.lifecycle.wake()

    def _reconciled(self) -> None:
        self._pod.refresh()
        self._scoring.wake()

    async def _follow_wanted_sets(self) -> None:
        async for raw in self._wanted_sets:
            self.lifecycle.apply(raw)


def _metrics(mode: ServingMode) -> Metrics:
    metrics = Metrics()
    if mode.has_base:
        metrics.begin(mode.base.name, BASE_VERSION)
    return metrics


def _lifecycle_settings(settings: Settings, mode: ServingMode) -> LifecycleSettings:
    return LifecycleSettings(
        pod=settings.pod,
        base_digest=mode.base.digest,
        retry_seconds=settings.retry_seconds,
        cache_bytes=settings.cache_bytes,
        has_base=mode.has_base,
    )


def _bring_up_sequence(
    settings: Settings,
    mode: ServingMode,
    engine: EngineClient,
    monitor: EngineMonitor,
    saved_state: SavedState,
    metrics: Metrics,
) -> BringUpSequence:
    prompts = ProofPrompts(engine, monitor.clients)
    base_answers = BaseAnswers(prompts=prompts, monitor=monitor, saved_state=saved_state, base_digest=mode.base.digest)
    return BringUpSequence(
        cache=mode.versions,
        check=mode.check,
        prompts=prompts,
        monitor=monitor,
        base_answers=base_answers if mode.has_base else None,
        observer=metrics,
        loads_at_once=settings.loads_at_once,
    )


def _serving_pod(settings: Settings, mode: ServingMode, lifecycle: Lifecycle, monitor: EngineMonitor) -> ServingPod:
    return ServingPod(
        name=settings.pod,
        base=mode.base,
        has_base=mode.has_base,
        peer=settings.peer_service_url,
        lifecycle=lifecycle,
        monitor=monitor,
    )


def _router(
    settings: Settings,
    mode: ServingMode,
    pod: ServingPod,
    engine: EngineClient,
    sessions: Sessions,
    metrics: Metrics,
    peers: PeerIdentity | None,
) -> Router:
    keys = ApiKeys(settings.api_key_file) if settings.api_key_file else None
    return Router(
        pod=pod,
        dispatcher=Dispatcher(
            sessions.proxied,
            pod,
            metrics,
            engine_url=settings.engine_url,
            request_seconds=settings.request_timeout_seconds,
            own_token=peers.own_token if peers else lambda: None,
            tracing=sessions.tracing,
        ),
        base_digest=mode.base.digest,
        metrics=metrics,
        authentication=Authentication(keys=keys, peers=peers, metrics=metrics),
        waiting_room=WaitingRoom(settings.load_wait_seconds),
        intake=Intake(
            most_bytes=settings.max_body_bytes,
            seconds=settings.body_seconds,
            most_bytes_at_once=settings.max_bodies_bytes,
        ),
        signals=EngineSignals(engine, lambda: pod.table),
        cors_origins=settings.cors_origins,
    )


@contextlib.asynccontextmanager
async def _background(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run coroutines beside the block; the first that fails ends the block, and the end of the block cancels them."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(coroutine) for coroutine in work]
        yield
        for task in running:
            task.cancel()
