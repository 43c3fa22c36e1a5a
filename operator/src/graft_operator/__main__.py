"""Composition root: settings → clients → one task group. No logic of its own."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import kopf

from graft_operator import handlers, routing
from graft_operator.agents import Agents
from graft_operator.artifacts import Artifacts
from graft_operator.cluster import Cluster
from graft_operator.cluster.leases import ClusterLeaseStore
from graft_operator.cluster.resources import BASE_MODELS, LORA_ADAPTERS
from graft_operator.engine.controller import Result, run_worker
from graft_operator.engine.keys import Key
from graft_operator.engine.leader import LeaderElector
from graft_operator.engine.probes import Health, heartbeat_forever, probe_server
from graft_operator.engine.resync import resync_forever
from graft_operator.engine.work_queue import WorkQueue
from graft_operator.reconcilers import build
from graft_operator.settings import Settings, SettingsError
from graft_operator.telemetry import logs

log = logging.getLogger("graft_operator")


def main() -> int:
    """Run the operator until a signal. Returns the exit status: 0 on a requested stop, 2 on bad settings."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"graft-operator: {error}", file=sys.stderr)  # noqa: T201 -- logging isn't set up yet
        return 2
    logs.configure(log_format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(serve(settings))
    except Exception:
        log.exception("the operator stops because a part of it failed")
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises an exception group if any part fails, the lease included."""
    stop = _stop_on_signals()
    health = Health(clock=time.monotonic)
    async with (
        probe_server(health, port=settings.probe_port),
        Cluster.connect(identity=settings.identity) as cluster,
        Agents.connect() as agents,
        asyncio.TaskGroup() as tasks,
    ):
        heartbeat = tasks.create_task(heartbeat_forever(health), name="heartbeat")
        reconcile = build(cluster, Artifacts(settings.registry), agents, settings, _now)
        operator = Operator(settings, cluster, agents, reconcile, health, stop)
        await operator.run()
        heartbeat.cancel()


@dataclass(frozen=True, slots=True)
class Operator:
    """The parts of one process, connected."""

    settings: Settings
    cluster: Cluster
    agents: Agents
    reconcile: Callable[[Key], Awaitable[Result]]
    health: Health
    stop: asyncio.Event

    async def run(self) -> None:
        """Wait for the lease, reconcile until `stop` is set, release the lease."""
        settings = self.settings
        store = ClusterLeaseStore(self.cluster, namespace=settings.lease_namespace, name=settings.lease_name)
        elector = LeaderElector(store, identity=settings.identity, now=_now)
        self.health.ready = True
        try:
            if await self._acquired(elector):
                await self._lead(elector)
        finally:
            self.health.ready = False
            # By now nothing of ours writes any more, so a successor may begin at once.
            await elector.release()

    async def _acquired(self, elector: LeaderElector) -> bool:
        """Wait for the lease or for `stop`; tell whether the lease came first."""
        async with asyncio.TaskGroup() as tasks:
            acquiring = tasks.create_task(elector.acquire())
            stopping = tasks.create_task(self.stop.wait())
            await asyncio.wait((acquiring, stopping), return_when=asyncio.FIRST_COMPLETED)
            acquiring.cancel()
            stopping.cancel()
        return not acquiring.cancelled()

    async def _lead(self, elector: LeaderElector) -> None:
        queue: WorkQueue[Key] = WorkQueue()
        adapters = routing.AdaptersByBase()
        registry = kopf.OperatorRegistry()
        handlers.register(registry, queue, adapters, self.agents.invalidate)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(elector.hold(), name="lease"),
                tasks.create_task(self._resync(queue, adapters), name="resync"),
                *(tasks.create_task(run_worker(queue, self.reconcile)) for _ in range(self.settings.workers)),
            ]
            # Kopf takes over the signals and, at its end, cancels every task that was created after its start.
            await kopf.operator(
                registry=registry,
                settings=handlers.kopf_settings(self.settings),
                clusterwide=not self.settings.watch_namespaces,
                namespaces=self.settings.watch_namespaces,
                standalone=True,
                stop_flag=self.stop,
            )
            for task in background:
                task.cancel()

    async def _resync(self, queue: WorkQueue[Key], adapters: routing.AdaptersByBase) -> None:
        every = self.settings.resync_seconds
        await resync_forever(
            queue,
            lambda: _list_keys(self.cluster, self.settings.watch_namespaces, adapters),
            every=every,
            beat=self.health.watch("resync", max_silence=2 * every + 60),
        )


async def _list_keys(cluster: Cluster, namespaces: tuple[str, ...], adapters: routing.AdaptersByBase) -> Iterable[Key]:
    """List both kinds, refresh `adapters`, and return the keys of everything that exists."""
    listed_adapters, listed_bases = [], []
    for namespace in namespaces or (None,):
        listed_adapters += await cluster.list(LORA_ADAPTERS, namespace)
        listed_bases += await cluster.list(BASE_MODELS, namespace)
    bases = {routing.adapter_key(adapter): routing.base_named_by(adapter) for adapter in listed_adapters}
    adapters.replace_all(bases)
    return [*map(routing.base_key, listed_bases), *bases]


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
