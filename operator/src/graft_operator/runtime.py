"""One life of the operator process: wait for the lease, read the cluster, reconcile, give the lease back."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from graft_operator import host
from graft_operator.agents import AgentNews, Agents
from graft_operator.artifacts import Artifacts
from graft_operator.cluster import Cache, Change, Cluster
from graft_operator.cluster.leases import ClusterLeaseStore
from graft_operator.cluster.resources import BASE_MODELS, LORA_ADAPTERS, NETWORK_POLICIES, PODS
from graft_operator.cluster.watching import informers, wait_for_sync
from graft_operator.controller_runtime.controller import RECONCILE_TIMEOUT_SECONDS, run_worker
from graft_operator.controller_runtime.fair_order import Priority
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key
from graft_operator.controller_runtime.leader import LeaderElector
from graft_operator.controller_runtime.probes import Health
from graft_operator.controller_runtime.resync import resync_forever
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.reconcilers import Dispatcher
from graft_operator.reconcilers.snapshots.serving_pods import hear_agents
from graft_operator.routing import is_observed, keys_of, owner_key
from graft_operator.settings import Settings

log = logging.getLogger(__name__)

SYNC_SECONDS = 30.0
"""How long the workers wait for the first listing of everything; a namespace that is closed to us holds up no other."""
HEAR_SECONDS = 5.0
"""How long the workers then wait for what the serving pods say; one that says nothing holds up nobody else."""
SILENCE_SECONDS = 300.0
"""A watch is begun anew more often than this: no word of any of them for so long means that all are dead."""
WORKER_SILENCE_SECONDS = SYNC_SECONDS + 2 * RECONCILE_TIMEOUT_SECONDS
"""A pass is ended long before that: if keys wait and none is done for so long, the workers hang."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The parts of one process, connected."""

    settings: Settings
    cluster: Cluster
    cache: Cache
    artifacts: Artifacts
    agents: Agents
    reconcilers: Dispatcher
    health: Health
    queue: WorkQueue[Key]
    now: Callable[[], datetime]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set or a signal comes. Raises if any part fails, or if the lease is lost."""
        settings = self.settings
        store = ClusterLeaseStore(self.cluster, namespace=settings.lease_namespace, name=settings.lease_name)
        elector = LeaderElector(store, identity=settings.identity, now=self.now)
        # What is decided while the lease is held may not be written once it is not.
        self.cluster.requesting = elector.requesting
        self.artifacts.fence_by(elector.writing, elector.is_leader)
        self.health.ready = True
        try:
            if await self._acquired(elector, stop):
                await self._lead(elector, stop)
        finally:
            self.health.ready = False
            await self.cluster.events.flush()
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
        """Read the cluster, and reconcile what is read, until `stop` is set or a signal comes."""
        settings, health = self.settings, self.health
        self._listen()
        beat = health.watch("watches", max_silence=SILENCE_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(elector.hold(), name="lease")]
            running += [
                tasks.create_task(informer.run())
                for informer in informers(
                    self.cluster.transport,
                    self.cache,
                    settings.watch_namespaces,
                    relist_seconds=settings.resync_seconds,
                    beat=beat,
                    without=() if settings.network_policies else (NETWORK_POLICIES,),
                )
            ]

            work = asyncio.Event()
            done = health.watch("workers", max_silence=WORKER_SILENCE_SECONDS, has_work=lambda: len(self.queue) > 0)
            running += [tasks.create_task(self._work(work, done)) for _ in range(settings.workers)]
            running.append(tasks.create_task(self.cluster.events.run(), name="events"))
            running.append(tasks.create_task(self._resync(work), name="resync"))

            async def begin() -> None:
                await wait_for_sync(self.cache, settings.watch_namespaces, seconds=SYNC_SECONDS)
                await hear_agents(self.cache, self.agents, seconds=HEAR_SECONDS)
                log.info("the cluster is read", extra={"objects": len(self.cache), "waiting": len(self.queue)})
                work.set()

            async def end() -> None:
                await elector.end_writing()
                for task in running:
                    task.cancel()

            await host.run(begin, end, settings=settings, stop=stop)
            await end()  # whoever is stopped before the beginning was over has no clean-up

    async def _work(self, begun: asyncio.Event, done: Callable[[], None]) -> None:
        await begun.wait()
        await run_worker(self.queue, self.reconcilers.reconcile, on_timeout=self.reconcilers.report_timeout, beat=done)

    async def _resync(self, begun: asyncio.Event) -> None:
        await begun.wait()
        every = self.settings.resync_seconds
        await resync_forever(
            self.queue, self._keys, every=every, beat=self.health.watch("resync", max_silence=2 * every + 60)
        )

    def _keys(self) -> Iterable[Key]:
        adapters, bases = self.cache.names(LORA_ADAPTERS), self.cache.names(BASE_MODELS)
        return [*(BaseKey(*name) for name in bases), *(AdapterKey(*name) for name in adapters)]

    def _listen(self) -> None:
        """Have everybody who learns something new put it into the queue."""
        self.cache.on_change = self._changed
        self.artifacts.on_news = self._registry_news
        self.agents.on_news = self._agent_news
        self.reconcilers.dataset_digests.on_news = self.queue.add

    def _changed(self, change: Change) -> None:
        for adapter in self.reconcilers.invalidate(change):
            self.queue.add(adapter)
        for key, priority in keys_of(change, self.cache):
            self.queue.add(key, priority)

    def _registry_news(self, kind: str, namespace: str, name: str) -> None:
        if not name:  # what concerns the bucket is told on every base
            for base in self.cache.names(BASE_MODELS):
                self.queue.add(BaseKey(*base), Priority.ROUTINE)
            return
        resource, key = (
            (LORA_ADAPTERS, AdapterKey(namespace, name))
            if kind == AdapterKey.kind
            else (BASE_MODELS, BaseKey(namespace, name))
        )
        body = self.cache.get(resource, namespace, name)
        # What is known now was asked for on behalf of a new spec: whoever has applied it waits.
        is_new = body is not None and not is_observed(body)
        self.queue.add(key, Priority.URGENT if is_new else Priority.PROGRESS)

    def _agent_news(self, namespace: str, pod: str, news: AgentNews) -> None:
        for adapter in news.adapters:
            # The names are the pod's own: it may say what it likes.
            if self.cache.version(LORA_ADAPTERS, namespace, adapter) is not None:
                self.queue.add(AdapterKey(namespace, adapter))
        body = self.cache.get(PODS, namespace, pod) if news.base else None
        if body is not None and (owner := owner_key(body)) is not None:
            self.queue.add(owner, Priority.URGENT)
