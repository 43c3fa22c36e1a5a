"""One life of the operator process: wait for the lease, reconcile, give the lease back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from graft_operator import handlers, routing
from graft_operator.agents import Agents, Reader
from graft_operator.cluster import Cluster
from graft_operator.cluster.leases import ClusterLeaseStore
from graft_operator.cluster.resources import BASE_MODELS, LORA_ADAPTERS
from graft_operator.engine.controller import Result, run_worker
from graft_operator.engine.keys import AdapterKey, BaseKey, Key
from graft_operator.engine.leader import LeaderElector
from graft_operator.engine.probes import Health
from graft_operator.engine.resync import resync_forever
from graft_operator.engine.work_queue import WorkQueue
from graft_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Operator:
    """The parts of one process, connected."""

    settings: Settings
    cluster: Cluster
    agents: Agents
    reconcile: Callable[[Key], Awaitable[Result]]
    health: Health
    now: Callable[[], datetime]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set or a signal comes. Raises if any part fails, or if the lease is lost."""
        settings = self.settings
        store = ClusterLeaseStore(self.cluster, namespace=settings.lease_namespace, name=settings.lease_name)
        elector = LeaderElector(store, identity=settings.identity, now=self.now)
        self.health.ready = True
        try:
            if await self._acquired(elector, stop):
                await self._lead(elector, stop)
        finally:
            self.health.ready = False
            # By now nothing of ours writes any more, so a successor may begin at once.
            await elector.release()

    async def _acquired(self, elector: LeaderElector, stop: asyncio.Event) -> bool:
        """Wait for the lease or for `stop`; tell whether the lease came first."""
        async with asyncio.TaskGroup() as tasks:
            acquiring = tasks.create_task(elector.acquire())
            stopping = tasks.create_task(stop.wait())
            await asyncio.wait((acquiring, stopping), return_when=asyncio.FIRST_COMPLETED)
            acquiring.cancel()
            stopping.cancel()
        return not acquiring.cancelled()

    async def _lead(self, elector: LeaderElector, stop: asyncio.Event) -> None:
        queue: WorkQueue[Key] = WorkQueue()
        adapters = routing.AdaptersByBase()
        self.agents.tell_news(lambda namespace, reader: queue.add(_key_of(namespace, reader)))
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(elector.hold(), name="lease"),
                tasks.create_task(self._resync(queue, adapters), name="resync"),
                *(tasks.create_task(run_worker(queue, self.reconcile)) for _ in range(self.settings.workers)),
            ]
            await handlers.watch(queue, adapters, self.agents.invalidate, settings=self.settings, stop=stop)
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


def _key_of(namespace: str, reader: Reader) -> Key:
    return (BaseKey if reader.is_base else AdapterKey)(namespace, reader.name)


async def _list_keys(cluster: Cluster, namespaces: tuple[str, ...], adapters: routing.AdaptersByBase) -> Iterable[Key]:
    """List both kinds, refresh `adapters`, and return the keys of everything that exists."""
    listed_adapters, listed_bases = [], []
    for namespace in namespaces or (None,):
        listed_adapters += await cluster.list(LORA_ADAPTERS, namespace)
        listed_bases += await cluster.list(BASE_MODELS, namespace)
    bases = {routing.adapter_key(adapter): routing.base_named_by(adapter) for adapter in listed_adapters}
    adapters.replace_all(bases)
    return [*map(routing.base_key, listed_bases), *bases]
