"""When an engine is taken for ready, doubted, restarted or down, by what it answers while other things go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from graft_serving.engine.activity import ClientActivity
from graft_serving.engine.client import EngineClient, EngineModels, Generation
from graft_serving.engine.monitor import SIGN_OF_LIFE_SECONDS, SLOW_POLLS_UNTIL_DOWN, EngineMonitor
from graft_serving.errors import EngineTimeoutError

pytestmark = pytest.mark.looptime(start=0)


class Engine:
    """Answers as a test says, each time after a moment."""

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.lists_are_slow = False
        self.unloads_may_end = asyncio.Event()
        self.unloads_may_end.set()
        self.is_listed = asyncio.Event()

    async def models(self) -> EngineModels:
        listed = dict(self.adapters)
        self.is_listed.set()
        await asyncio.sleep(0.05)
        if self.lists_are_slow:
            raise EngineTimeoutError("the engine did not answer /v1/models within 5 s")
        return EngineModels("base", listed)

    async def generate(self, *_: object) -> Generation:
        await asyncio.sleep(0.05)
        return Generation(text="x", token_ids=(1,))

    async def load(self, name: str, path: str) -> None:
        await asyncio.sleep(0.01)
        self.adapters[name] = path
        await asyncio.sleep(0.01)

    async def unload(self, name: str) -> None:
        self.adapters.pop(name, None)
        await self.unloads_may_end.wait()

    async def until_listed(self) -> None:
        """Return once a list has been asked for from now on, and answered."""
        self.is_listed.clear()
        await self.is_listed.wait()
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def watched(engine: Engine, on_change: Callable[[], None] = lambda: None) -> AsyncIterator[EngineMonitor]:
    monitor = EngineMonitor(cast(EngineClient, engine), poll_seconds=1, on_change=on_change)
    run = asyncio.create_task(monitor.run())
    await monitor.wait_until_ready()
    yield monitor
    run.cancel()


async def all_the_time(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await work()


async def test_an_unload_whose_answer_is_still_on_its_way_is_no_restart_of_the_engine() -> None:
    engine = Engine()
    async with watched(engine) as monitor:
        await monitor.load("a--v1", "/a")
        await monitor.load("b--v1", "/b")
        engine.unloads_may_end.clear()
        unloading = asyncio.create_task(monitor.unload("a--v1"))
        await engine.until_listed()
        engine.unloads_may_end.set()
        await unloading
        await engine.until_listed()
        assert monitor.starts == 1
        assert monitor.loaded == {"b--v1": "/b"}


async def test_a_restart_is_seen_although_something_is_being_loaded_all_the_time() -> None:
    engine = Engine()
    async with watched(engine) as monitor:
        await monitor.load("a--v1", "/a")
        loading = asyncio.create_task(all_the_time(lambda: monitor.load("b--v1", "/b")))
        await engine.until_listed()
        assert monitor.starts == 1
        engine.adapters.clear()
        await engine.until_listed()
        assert monitor.starts == 2
        assert "a--v1" not in monitor.loaded
        loading.cancel()


async def test_a_doubted_engine_that_answers_is_ready_again_although_adapters_are_loaded_all_the_time() -> None:
    engine = Engine()
    async with watched(engine) as monitor:
        loading = asyncio.create_task(all_the_time(lambda: monitor.load("b--v1", "/b")))
        monitor.doubt()
        assert not monitor.is_ready
        await engine.until_listed()
        assert monitor.is_ready
        loading.cancel()


async def test_a_doubt_and_its_end_are_told() -> None:
    engine, changes = Engine(), 0

    def count() -> None:
        nonlocal changes
        changes += 1

    async with watched(engine, count) as monitor:
        before = changes
        monitor.doubt()
        monitor.doubt()
        assert (changes - before, monitor.is_ready) == (1, False)
        await monitor.wait_until_ready()
        await asyncio.sleep(2)
        assert (changes - before, monitor.is_ready) == (2, True)


async def test_an_engine_whose_lists_are_slow_is_alive_for_as_long_as_it_gives_clients_anything() -> None:
    engine = Engine()
    async with watched(engine) as monitor:
        monitor.clients = ClientActivity(asyncio.get_running_loop().time)
        engine.lists_are_slow = True
        with monitor.clients.waiting():
            for _ in range(60):
                monitor.clients.note_sign_of_life()
                await asyncio.sleep(1)
            states = [monitor.state]
            for pause in (SIGN_OF_LIFE_SECONDS - 2, 4):
                await asyncio.sleep(pause)
                states.append(monitor.state)
    assert states == ["Ready", "Ready", "Down"]


async def test_clients_who_wait_in_vain_do_not_keep_an_engine_ready() -> None:
    engine = Engine()
    async with watched(engine) as monitor:
        engine.lists_are_slow = True
        with monitor.clients.waiting():
            states = []
            for _ in range(SLOW_POLLS_UNTIL_DOWN):
                states.append(monitor.state)
                await engine.until_listed()
            states.append(monitor.state)
    assert states == ["Ready"] * SLOW_POLLS_UNTIL_DOWN + ["Down"]
