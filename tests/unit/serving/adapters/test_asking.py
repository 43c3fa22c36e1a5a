"""How many prompts of proofs are in an engine together, beside clients and without them."""

import asyncio
import itertools
import random
from typing import cast

import pytest

from graft_serving.adapters.asking import MOST_ALONE, MOST_BESIDE_CLIENTS, ProofPrompts, prompts_at_once
from graft_serving.engine.activity import ClientActivity
from graft_serving.engine.client import EngineClient, Generation
from graft_serving.errors import EngineTimeoutError

pytestmark = pytest.mark.looptime(start=0)


class Engine:
    """Takes a second for each prompt, and fails at some of them."""

    def __init__(self, seconds: float = 1.0, *, failing: float = 0.0) -> None:
        self.seconds = seconds
        self.failing = failing
        self.chance = random.Random(7)
        self.inside = 0
        self.most_inside = 0
        self.answered = 0

    async def generate(self, *_: object, **__: object) -> Generation:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await asyncio.sleep(self.seconds)
            if self.chance.random() < self.failing:
                raise EngineTimeoutError("the engine did not answer")
            self.answered += 1
            return Generation(text="x", token_ids=(1,))
        finally:
            self.inside -= 1


class Pod:
    """An engine with clients, and prompts to ask it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clients = ClientActivity(asyncio.get_running_loop().time)
        self.prompts = ProofPrompts(cast(EngineClient, engine), self.clients)

    def ask(self, count: int) -> list[asyncio.Task[Generation]]:
        return [asyncio.create_task(self.prompts.generate("a--v1", (1,), 1)) for _ in range(count)]


@pytest.mark.parametrize(
    ("seconds_unasked", "prompts"),
    [(0, 2), (0.99, 2), (1, 2), (1.5, 3), (5, 10), (14, 28), (16, 32), (3600, 32), (float("inf"), 32)],
)
def test_the_longer_nobody_has_asked_the_more_prompts_there_may_be(seconds_unasked: float, prompts: int) -> None:
    assert prompts_at_once(seconds_unasked) == prompts


def test_the_number_never_falls_while_nobody_asks() -> None:
    numbers = [prompts_at_once(tenths / 10) for tenths in range(300)]
    assert all(before <= after for before, after in itertools.pairwise(numbers))
    assert (numbers[0], numbers[-1]) == (MOST_BESIDE_CLIENTS, MOST_ALONE)


async def test_beside_a_client_who_waits_however_long_there_are_two() -> None:
    pod = Pod(Engine())
    with pod.clients.waiting():
        tasks = pod.ask(80)
        await asyncio.sleep(30.5)
        assert pod.engine.most_inside == MOST_BESIDE_CLIENTS
        assert pod.engine.answered == 60
    await asyncio.gather(*tasks)


async def test_without_clients_an_engine_gets_as_many_as_it_batches_well() -> None:
    pod = Pod(Engine())
    await asyncio.gather(*pod.ask(100))
    assert pod.engine.most_inside == MOST_ALONE


async def test_once_a_client_comes_none_is_added_until_there_is_room_beside_it() -> None:
    pod = Pod(Engine())
    tasks = pod.ask(100)
    await asyncio.sleep(0.5)
    with pod.clients.waiting():
        await asyncio.sleep(1)
        assert pod.engine.inside == MOST_BESIDE_CLIENTS
    await asyncio.gather(*tasks)


async def test_prompts_that_take_long_are_joined_by_others_as_the_pause_of_the_clients_grows() -> None:
    pod = Pod(Engine(seconds=60))
    with pod.clients.waiting():
        tasks = pod.ask(40)
        await asyncio.sleep(1)
    seen = []
    for _ in range(17):
        await asyncio.sleep(1)
        seen.append(pod.engine.inside)
    assert seen[0] <= 3
    assert 16 <= seen[8] <= 20
    assert seen[-1] == MOST_ALONE
    await asyncio.gather(*tasks)


async def test_one_question_every_14_seconds_does_not_leave_two_places_for_all_the_time() -> None:
    pod = Pod(Engine(seconds=0.1))

    async def clients() -> None:
        while True:
            with pod.clients.waiting():
                await asyncio.sleep(0.1)
            await asyncio.sleep(13.9)

    asking = asyncio.create_task(clients())
    tasks = pod.ask(4000)
    await asyncio.sleep(14)
    assert pod.engine.answered > 5 * 14 / 0.1 * MOST_BESIDE_CLIENTS
    asking.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_or_is_given_up_leaves_its_place_to_others(seed: int) -> None:
    chance = random.Random(seed)
    pod = Pod(Engine(seconds=0.2, failing=0.2))
    tasks = pod.ask(200)
    for _ in range(100):
        await asyncio.sleep(0.02)
        chance.choice(tasks).cancel()
        if chance.random() < 0.3:
            with pod.clients.waiting():
                await asyncio.sleep(0.05)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert pod.engine.inside == 0
    pod.engine.failing, pod.engine.most_inside = 0, 0
    await asyncio.sleep(20)
    await asyncio.gather(*pod.ask(MOST_ALONE))
    assert pod.engine.most_inside == MOST_ALONE
