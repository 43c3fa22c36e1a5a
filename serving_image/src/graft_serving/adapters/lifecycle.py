"""Makes this pod's versions and aliases what the wanted set says: observe → plan (pure) → act, at every event."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Protocol

from graft_registry.digests import sha256_digest
from graft_serving.adapters import planning
from graft_serving.adapters.bring_up import BringUpSequence
from graft_serving.adapters.cache import DISK_FULL, VersionsOnDisk
from graft_serving.adapters.records import VersionRecord
from graft_serving.adapters.saved_state import SavedState
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.errors import AgentError, WantedSetError
from graft_serving.versions import Route, VersionKey, VersionState
from graft_serving.wanted.documents import WantedSet, parse_wanted_set

logger = logging.getLogger(__name__)

LONGEST_RETRY_SECONDS = 60.0
PAUSES_PER_PASS = 4
"""Passes over all versions take a fifth of the time at most."""
LONGEST_PAUSE_SECONDS = 0.5
MOST_DOUBLINGS = 10
"""Far beyond the longest pause; without a bound the power would one day be too large for a float."""


class LifecycleObserver(Protocol):
    """Told about the alias moves and the end of versions."""

    def swapped(self, key: VersionKey, seconds: float) -> None:
        """An alias points at a version, so many seconds after the wanted set that asked for it arrived."""

    def forgotten(self, key: VersionKey) -> None:
        """A version is gone from this pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleSettings:
    """What a pod's lifecycle goes by."""

    pod: str
    """This pod's name; wanted sets name the pods that hold an adapter, where not all of them do."""
    base_digest: str
    """The base on this pod; wanted sets for another one are rejected."""
    retry_seconds: float
    """The first pause after a failure; it doubles up to a minute."""
    cache_bytes: int
    """What versions may take on the disk; those that are needed may take more."""
    has_base: bool = True
    """Whether the bare base is served beside the versions."""


class Lifecycle:
    """Owns the records of all versions and the routes of all aliases."""

    def __init__(
        self,
        settings: LifecycleSettings,
        *,
        cache: VersionsOnDisk,
        bring_up: BringUpSequence,
        monitor: EngineMonitor,
        saved_state: SavedState,
        observer: LifecycleObserver,
        on_reconciled: Callable[[], None],
    ) -> None:
        """Start from the saved state; nothing happens before `run`.

        Args:
            settings: what to go by.
            cache: the versions on the disk.
            bring_up: what makes a version proven.
            monitor: the engine.
            saved_state: what a former life of the agent has left.
            observer: told about alias moves and the end of versions.
            on_reconciled: called after each time that the steps were taken.
        """
        self._settings = settings
        self._cache = cache
        self._bring_up = bring_up
        self._monitor = monitor
        self._saved_state = saved_state
        self._observer = observer
        self._on_reconciled = on_reconciled
        self._wake = asyncio.Event()
        self._tasks: dict[VersionKey, asyncio.Task[None]] = {}
        self._sweep: asyncio.Task[None] | None = None
        self._wanted_since = time.perf_counter()
        self._passed_engine_start: int | None = None
        self.records: dict[VersionKey, VersionRecord] = {}
        self.routes: Mapping[str, Route] = saved_state.routes()
        self.wanted: WantedSet | None = None
        self.wanted_digest: str | None = None
        self.message = "no wanted set has arrived yet"

    @property
    def is_ready(self) -> bool:
        """Whether the engine answers and every alias is as good as it gets; loading more never undoes it."""
        return self._monitor.is_ready and self._passed_engine_start == self._monitor.starts

    def wake(self) -> None:
        """Plan again: something may have changed."""
        self._wake.set()

    def went_idle(self, key: VersionKey) -> None:
        """The last request under way on a version has ended; whoever waits for that is served now."""
        record = self.records.get(key)
        if record is not None and record.state is VersionState.DRAINING:
            self.wake()

    def restore(self) -> None:
        """Apply the wanted set that an earlier life of the agent kept, until the operator's arrives."""
        if (raw := self._saved_state.wanted()) is not None:
            self.apply(raw)

    def apply(self, raw: bytes) -> None:
        """Take over a wanted set. One that can't be applied leaves the former in force; `message` says why."""
        digest = sha256_digest(raw)
        if digest == self.wanted_digest:
            self.message = ""
            return
        try:
            wanted = parse_wanted_set(raw)
            if wanted.base.digest != (own := self._settings.base_digest):
                raise WantedSetError(
                    f"base.digest: the wanted set is for {wanted.base.digest}, but this pod holds {own}"
                )
        except WantedSetError as error:
            self.message = str(error)
            logger.error("wanted set rejected digest=%s: %s", digest, error)
            return
        self.wanted, self.wanted_digest, self.message = wanted.part_of(self._settings.pod), digest, ""
        self._wanted_since = time.perf_counter()
        self._saved_state.save_wanted(raw)
        logger.info("wanted set applied digest=%s adapters=%d", digest, len(wanted.adapters))
        self.wake()

    async def run(self) -> None:
        """Plan and act at every wake-up, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                began = time.perf_counter()
                self._reconcile(tasks)
                took = time.perf_counter() - began
                timeout = self._seconds_until_next_retry()
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout)
                except TimeoutError:
                    logger.debug("a retry is due")
                # A pod that brings a thousand versions up is woken a thousand times: what comes meanwhile is one event.
                await asyncio.sleep(min(PAUSES_PER_PASS * took, LONGEST_PAUSE_SECONDS))
                self._wake.clear()

    def _reconcile(self, tasks: asyncio.TaskGroup) -> None:
        if self.wanted is None:
            return
        seen = self._observe(self.wanted)
        decided = planning.plan(seen)
        self._move_aliases(decided.routes)
        for step in decided.steps:
            self._take(step, tasks)
        if not self._monitor.is_ready or self._monitor.starts != self._passed_engine_start:
            self._passed_engine_start = None
        if self._monitor.is_ready and planning.first_pass_is_complete(seen, decided.routes):
            self._passed_engine_start = self._monitor.starts
        self._on_reconciled()

    def _observe(self, wanted: WantedSet) -> planning.Observed:
        now, loaded = time.monotonic(), self._monitor.loaded
        return planning.Observed(
            wanted=wanted,
            versions={
                key: planning.VersionObserved(
                    state=record.state,
                    busy=key in self._tasks,
                    loaded=loaded.get(key.engine_name) == self._cache.engine_path(key),
                    inflight=record.traffic.inflight,
                    retry_due=record.retry_at <= now,
                    attempts=record.attempts,
                    restarted_since_refusal=self._monitor.was_started_since(record.refused_by_start),
                )
                for key, record in self.records.items()
            },
            routes=self.routes,
            engine_ready=self._monitor.is_ready,
            engine_names=loaded,
            folders=self._cache.folders(),
            cache_bytes=0 if self._disk_is_full() else self._settings.cache_bytes,
            sweeping=self._sweep is not None,
            has_base=self._settings.has_base,
        )

    def _move_aliases(self, routes: Mapping[str, Route]) -> None:
        if routes == self.routes:
            return
        for adapter, route in routes.items():
            former = self.routes.get(adapter, ())
            if route != former:
                self._count_move(route, former)
                logger.info("alias=%s route=%s", adapter, [(s.version.label, s.weight) for s in route])
        self.routes = routes
        self._saved_state.save_routes(routes)

    def _count_move(self, route: Route, former: Route) -> None:
        known = {share.version for share in former}
        for share in route:
            self.records[share.version].traffic.measure_anew()
            if share.version not in known:
                self._observer.swapped(share.version, time.perf_counter() - self._wanted_since)

    def _take(self, step: planning.Step, tasks: asyncio.TaskGroup) -> None:
        match step:
            case planning.BringUp(key):
                record = self.records.setdefault(key, VersionRecord(key))
                record.state = VersionState.PENDING
                self._start(key, self._bring_up_once(record), tasks)
            case planning.Cancel(key):
                if not self._tasks[key].cancelling():
                    self._tasks[key].cancel()
            case planning.Drain(key):
                self.records[key].state = VersionState.DRAINING
                self.records[key].retry_at = 0.0
                self.wake()
            case planning.Retire(key):
                self._start(key, self._retire(self.records[key]), tasks)
            case planning.Sweep(names):
                self._sweep = tasks.create_task(self._sweep_strays(names))
            case planning.Evict(folders):
                # At once, so that no version is found in a folder that is about to go.
                self._cache.evict(folders)
                logger.info("evicted folders=%s", folders)
                tasks.create_task(self._cache.delete_evicted())

    def _start(self, key: VersionKey, work: Coroutine[None, None, None], tasks: asyncio.TaskGroup) -> None:
        task = tasks.create_task(work, name=key.engine_name)
        self._tasks[key] = task

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[key]
            self.wake()

        task.add_done_callback(ended)

    async def _bring_up_once(self, record: VersionRecord) -> None:
        await self._bring_up.run(record)
        if record.state is VersionState.FAILING:
            self._back_off(record)
        else:
            record.attempts = 0

    async def _retire(self, record: VersionRecord) -> None:
        key = record.key
        try:
            await self._monitor.unload(key.engine_name)
        except AgentError as error:
            record.message = f"can't be unloaded yet: {error}"
            self._back_off(record)
            return
        self._cache.release(key)
        del self.records[key]
        self._observer.forgotten(key)
        logger.info("version=%s unloaded", key.label)

    async def _sweep_strays(self, names: tuple[str, ...]) -> None:
        try:
            for name in names:
                await self._monitor.unload(name)
            logger.info("swept strays names=%s", names)
        except AgentError as error:
            logger.warning("strays can't be swept yet: %s", error)
            await asyncio.sleep(self._settings.retry_seconds)
        finally:
            self._sweep = None
            self.wake()

    def _disk_is_full(self) -> bool:
        return any(record.reason == DISK_FULL for record in self.records.values())

    def _back_off(self, record: VersionRecord) -> None:
        doublings = min(record.attempts, MOST_DOUBLINGS)
        pause = min(self._settings.retry_seconds * 2**doublings, LONGEST_RETRY_SECONDS)
        record.attempts += 1
        record.retry_at = time.monotonic() + pause

    def _seconds_until_next_retry(self) -> float | None:
        due = [record.retry_at for record in self.records.values() if self._waits_for_its_retry(record)]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _waits_for_its_retry(self, record: VersionRecord) -> bool:
        if record.key in self._tasks:
            return False
        may_retire = record.state is VersionState.DRAINING and self._monitor.is_ready and not record.traffic.inflight
        return may_retire or record.state is VersionState.FAILING
