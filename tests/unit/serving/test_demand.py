"""When an adapter was last asked, and which requests are news."""

import asyncio

import pytest

from graft_serving.api.waiting_room import MOST_WAITING, WaitingRoom
from graft_serving.proxy.routing import Decision, NotLoaded, ToBase
from graft_serving.status import demand
from graft_serving.status.demand import PAUSE_SECONDS, Demand


class Counted:
    """A demand at a time that the test sets, and how often it had something to tell."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0
        self.told = 0
        self.demand = Demand(on_missed=self._tell, clock=lambda: self.now)

    def _tell(self) -> None:
        self.told += 1

    async def miss(self, adapter: str, after: float = 0.0) -> None:
        self.now += after
        self.demand.count(adapter, is_missed=True)
        await asyncio.sleep(0.03)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setattr(demand, "SHORTEST_SECONDS", 0.01)
    return Counted()


async def test_the_first_request_is_told_and_those_that_follow_are_not(counted: Counted) -> None:
    for _ in range(5):
        await counted.miss("support", after=PAUSE_SECONDS - 1)
    assert counted.told == 1


async def test_after_a_pause_it_is_told_again(counted: Counted) -> None:
    await counted.miss("support")
    await counted.miss("support", after=PAUSE_SECONDS)
    assert counted.told == counted.demand.times_told == 2


async def test_the_first_request_after_it_was_loaded_is_told_again(counted: Counted) -> None:
    await counted.miss("support")
    counted.demand.count("support", is_missed=False)
    await counted.miss("support")
    assert counted.told == 2


async def test_many_adapters_are_told_of_together(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "SHORTEST_SECONDS", 0.1)
    for number in range(20):
        counted.demand.count(f"adapter-{number}", is_missed=True)
    await asyncio.sleep(0.03)
    counted.demand.count("another", is_missed=True)
    counted.demand.count("one-more", is_missed=True)
    assert counted.told == 1, "what comes soon after waits"
    await asyncio.sleep(0.15)
    assert counted.told == 2


STARTED, ASKED, NOW = "2001-09-09T01:46:40Z", "2001-09-09T01:47:40Z", "2001-09-09T01:48:40Z"


@pytest.mark.parametrize(
    ("asked", "is_loaded", "is_busy", "expected"),
    [
        pytest.param(True, True, False, ASKED, id="a loaded one: when it was asked"),
        pytest.param(True, False, False, ASKED, id="one that is not loaded, too"),
        pytest.param(False, False, False, None, id="never asked and not loaded: never"),
        pytest.param(False, True, False, STARTED, id="loaded and not asked since the start: who knows before it?"),
        pytest.param(True, True, True, NOW, id="with a request under way: now"),
    ],
)
async def test_when_it_was_last_asked(*, asked: bool, is_loaded: bool, is_busy: bool, expected: str | None) -> None:
    counted = Counted()
    counted.now += 60
    if asked:
        counted.demand.count("support", is_missed=False)
    counted.now += 60
    assert counted.demand.last_asked("support", is_loaded=is_loaded, is_busy=is_busy) == expected


async def test_adapters_that_are_gone_are_forgotten(counted: Counted) -> None:
    for name in ("support", "sales"):
        await counted.miss(name)
    counted.demand.keep(["sales"])
    times = [counted.demand.last_asked(name, is_loaded=False, is_busy=False) for name in ("support", "sales")]
    assert times == [None, NOW.replace("01:48", "01:46")]


class Door:
    """What a waiting request looks at."""

    def __init__(self, *, may_wait: bool = True) -> None:
        self.decision: Decision = NotLoaded("not yet", may_wait)
        self.news = asyncio.Event()
        self.looks = 0

    def decide(self) -> Decision:
        self.looks += 1
        return self.decision

    async def wait(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await self.news.wait()


async def test_a_request_goes_on_as_soon_as_somebody_can_answer() -> None:
    door = Door()
    waiting = asyncio.create_task(WaitingRoom(60).decide(door.decide, door.wait))
    await asyncio.sleep(0)
    door.decision = ToBase()
    door.news.set()
    assert await waiting == ToBase()


@pytest.mark.parametrize(("seconds", "may_wait"), [(0, True), (60, False)])
async def test_some_requests_do_not_wait(seconds: float, *, may_wait: bool) -> None:
    door = Door(may_wait=may_wait)
    assert await WaitingRoom(seconds).decide(door.decide, door.wait) == door.decision
    assert door.looks == 1


async def test_only_so_many_wait() -> None:
    room, door = WaitingRoom(60), Door()
    waiting = [asyncio.create_task(room.decide(door.decide, door.wait)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    assert await room.decide(door.decide, door.wait) == door.decision
    for task in waiting[1:]:
        task.cancel()
    await asyncio.gather(*waiting[1:], return_exceptions=True)
    door.decision = ToBase()
    door.news.set()
    assert await waiting[0] == ToBase()
    assert await room.decide(door.decide, door.wait) == ToBase()
