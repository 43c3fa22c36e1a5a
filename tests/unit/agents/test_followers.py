"""How often pods are asked, what is known of them meanwhile, and who is told. On a loop whose time is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

import pytest
from tests.unit.agents.states import POD, adapter, state, text, version

from graft_operator.agents import AgentNews, Agents, AgentState, PodAddress, Unreachable
from graft_operator.agents.budget import BURST_BYTES, BYTES_PER_SECOND, PODS_ASKED, NamespaceBudget
from graft_operator.agents.client import MAX_BYTES, Question
from graft_operator.agents.followers import KEPT_SECONDS, MEASURED_SECONDS, SHORTEST_INTERVAL_SECONDS
from graft_operator.agents.state_parser import InvalidState

pytestmark = pytest.mark.looptime(start=0)

SERVING = PodAddress("team-a", POD, "uid-0", "10.0.0.1")


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Pods:
    """Agents that hold a request until their state has another revision, and what they were asked when."""

    documents: dict[str, Any] = field(default_factory=dict)
    """By pod name. An exception is raised, text is an answer that nobody can read."""
    asked: list[tuple[str, float, Question]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    size: int = 0
    """What each answer is charged as."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, document: Any, pod: str = POD) -> None:
        self.documents[pod] = document
        self._changed.set()
        self._changed = asyncio.Event()

    def times(self, pod: str = POD) -> list[float]:
        return [round(time, 3) for name, time, _ in self.asked if name == pod]

    async def ask(
        self, pod: PodAddress, question: Question, budget: NamespaceBudget, read: Callable[[bytearray], Any]
    ) -> Any:
        self.asked.append((pod.name, now(), question))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            return await self._answer(pod, question, budget, read)
        finally:
            self.open -= 1

    async def _answer(
        self, pod: PodAddress, question: Question, budget: NamespaceBudget, read: Callable[[bytearray], Any]
    ) -> Any:
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(question.held_seconds or None):
                while question.since and self._revision(pod.name) == question.since:
                    await self._changed.wait()
        except TimeoutError:
            pass
        document = self.documents[pod.name]
        if callable(document):
            document = document()
        if isinstance(document, Exception):
            return Unreachable(str(document))
        budget.charge(self.size)
        try:
            return read(bytearray(text(document)))
        except InvalidState as error:
            return Unreachable(str(error))

    def _revision(self, pod: str) -> Any:
        document = self.documents[pod]
        return document.get("revision") if isinstance(document, dict) else None


class Told:
    """Everything that was told, with its time."""

    def __init__(self, agents: Agents) -> None:
        self.news: list[tuple[float, AgentNews]] = []
        agents.on_news = self

    def __call__(self, namespace: str, pod: str, news: AgentNews) -> None:
        self.news.append((round(now(), 3), news))

    def of(self, adapter: str) -> list[float]:
        return [time for time, news in self.news if adapter in news.adapters]

    @property
    def of_base(self) -> list[float]:
        return [time for time, news in self.news if news.base]


@pytest.fixture
async def pods() -> Pods:
    return Pods({POD: state(adapter())})


@pytest.fixture
async def agents(pods: Pods) -> Any:
    agents = Agents(pods)
    yield agents
    await agents.close()


@pytest.fixture
async def told(agents: Agents) -> Told:
    return Told(agents)


async def test_the_state_is_known_after_the_first_answer_and_told(agents: Agents, told: Told) -> None:
    assert agents.state("team-a", POD) is None
    agents.follow(SERVING)
    assert agents.state("team-a", POD) is None
    await asyncio.sleep(0.1)
    assert isinstance(agents.state("team-a", POD), AgentState)
    assert told.news == [(0, AgentNews(frozenset({"support"}), base=True))]


async def test_a_pod_without_news_costs_one_request_in_twenty_seconds(agents: Agents, pods: Pods) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(100)
    assert pods.times() == [0, 1, 21, 41, 61, 81]
    assert [question.since for _, _, question in pods.asked] == ["", *["a-1"] * 5]


async def test_news_are_told_at_once_and_only_to_whom_they_concern(agents: Agents, pods: Pods, told: Told) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(7)
    pods.say(state(adapter(), adapter("sales", lastAsked=None), revision="a-2"))
    await asyncio.sleep(1)
    assert told.of("sales") == [7]
    assert told.of("support") == [0]
    known = agents.state("team-a", POD)
    assert isinstance(known, AgentState)
    assert known.adapter("sales") is not None


async def test_a_pod_that_always_has_news_is_asked_once_a_second(agents: Agents, pods: Pods, told: Told) -> None:
    revisions = count()
    pods.documents[POD] = lambda: state(adapter(f"a{next(revisions)}"), revision=f"r{next(revisions)}")
    agents.follow(SERVING)
    await asyncio.sleep(100)
    assert len(pods.asked) == 100
    assert min(after - before for before, after in pairwise(pods.times())) >= SHORTEST_INTERVAL_SECONDS
    assert len(told.news) == 100


async def test_following_twice_is_following_once(agents: Agents, pods: Pods) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(5)
    agents.follow(PodAddress("team-a", POD, "uid-0", "10.0.0.1"))
    await asyncio.sleep(5)
    assert pods.times() == [0, 1]


@pytest.mark.parametrize(("uid", "ip"), [("uid-1", "10.0.0.1"), ("uid-0", "10.0.0.2")])
async def test_another_pod_of_the_name_is_asked_anew(agents: Agents, pods: Pods, uid: str, ip: str) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(5)
    agents.follow(PodAddress("team-a", POD, uid, ip))
    assert agents.state("team-a", POD) is None, "what the former one said is no longer true"
    await asyncio.sleep(0.1)
    assert isinstance(agents.state("team-a", POD), AgentState)
    assert pods.asked[-1][2].since == ""
    await asyncio.sleep(0)
    assert pods.open <= 1


async def test_a_pod_that_ended_is_neither_known_nor_asked(agents: Agents, pods: Pods) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(5)
    agents.unfollow("team-a", POD)
    agents.unfollow("team-a", POD)
    assert agents.state("team-a", POD) is None
    await asyncio.sleep(100)
    assert pods.times() == [0, 1]
    assert pods.open == 0


async def test_a_pod_that_fails_is_asked_ever_more_seldom_and_its_state_stands_for_a_while(
    agents: Agents, pods: Pods, told: Told
) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(2)
    pods.say(OSError("connection refused"))
    await asyncio.sleep(KEPT_SECONDS - 1)
    assert isinstance(agents.state("team-a", POD), AgentState)
    await asyncio.sleep(1.1)
    assert agents.state("team-a", POD) == Unreachable("connection refused")
    assert told.news[1:] == [(told.of("support")[-1], AgentNews(frozenset({"support"}), base=True))]
    await asyncio.sleep(1000)
    pauses = [after - before for before, after in pairwise(pods.times()[2:])]
    assert all(pause >= SHORTEST_INTERVAL_SECONDS for pause in pauses)
    assert all(10 <= pause <= 20.1 for pause in pauses[6:])
    assert len(told.news) == 2, "it is told once"


async def test_a_pod_that_answers_again_is_told_of_and_followed_as_before(
    agents: Agents, pods: Pods, told: Told
) -> None:
    pods.documents[POD] = OSError("not yet")
    agents.follow(SERVING)
    await asyncio.sleep(0.5)
    assert agents.state("team-a", POD) == Unreachable("not yet")
    pods.say(state(adapter()))
    await asyncio.sleep(10)
    assert isinstance(agents.state("team-a", POD), AgentState)
    assert told.of("support") == [pytest.approx(1.5, abs=0.6)]
    assert told.of_base == [0, *told.of("support")]
    assert pods.open == 1, "its next news are waited for"


async def test_an_agent_that_is_away_for_a_moment_is_no_news(agents: Agents, pods: Pods, told: Told) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(5)
    pods.say(OSError("reset"))
    await asyncio.sleep(1)
    pods.say(state(adapter()))
    await asyncio.sleep(30)
    assert len(told.news) == 1


@pytest.mark.parametrize("document", [b"<html>", state(pod="another"), state(adapter(), ready=None)])
async def test_what_is_no_state_of_this_pod_is_not_taken(agents: Agents, pods: Pods, document: Any) -> None:
    pods.documents[POD] = document
    agents.follow(SERVING)
    await asyncio.sleep(1)
    assert isinstance(agents.state("team-a", POD), Unreachable)


async def test_an_agent_that_tells_no_revision_is_asked_every_two_seconds(agents: Agents, pods: Pods) -> None:
    pods.documents[POD] = state(adapter(), revision="")
    agents.follow(SERVING)
    await asyncio.sleep(9)
    assert pods.times() == [0, 2, 4, 6, 8]
    assert {question.held_seconds for _, _, question in pods.asked} == {0}


def counted(requests: int) -> dict[str, Any]:
    told = {"requests": requests, "errors": 0, "latency": {"-8": requests}}
    return state(adapter(versions=[version(measured=told)]), adapter("sales", versions=[version(measured=told)]))


async def test_counters_are_watched_while_somebody_wishes_it(agents: Agents, pods: Pods, told: Told) -> None:
    requests = count()
    pods.documents[POD] = counted(next(requests))
    agents.follow(SERVING)
    await asyncio.sleep(10)
    assert pods.times() == [0, 1]

    async def traffic() -> None:
        while True:
            await asyncio.sleep(1)
            pods.documents[POD] = counted(next(requests))

    busy = asyncio.create_task(traffic())
    for _ in range(3):
        agents.measure("team-a", POD, adapter="support", seconds=2)
        await asyncio.sleep(10)
    assert pods.times()[2:] == pytest.approx(range(10, 40, 2), abs=0.01), "the held request was given up for it"
    assert told.of("support")[2:] == pytest.approx(range(14, 40, 2), abs=0.01)
    assert told.of("sales") == [0], "nobody measures it"
    await asyncio.sleep(MEASURED_SECONDS + 20)
    seen = len(pods.asked)
    await asyncio.sleep(60)
    assert len(pods.asked) - seen == 3
    busy.cancel()


async def test_counters_that_rest_are_no_news(agents: Agents, told: Told) -> None:
    agents.follow(SERVING)
    await asyncio.sleep(1)
    agents.measure("team-a", POD, adapter="support")
    agents.measure("team-a", "unknown", adapter="support")
    await asyncio.sleep(20)
    assert len(told.news) == 1


async def test_of_many_pods_of_a_namespace_some_are_asked_at_once_and_all_get_their_turn(
    agents: Agents, pods: Pods
) -> None:
    names = [f"pod-{number}" for number in range(3 * PODS_ASKED)]
    for name in names:
        pods.documents[name] = state(adapter(), pod=name)
        agents.follow(PodAddress("team-a", name, "uid", "10.0.0.1"))
    await asyncio.sleep(20)
    assert pods.most_open == PODS_ASKED
    assert all(isinstance(agents.state("team-a", name), AgentState) for name in names)
    pods.documents["other"] = state(adapter(), pod="other")
    agents.follow(PodAddress("team-b", "other", "uid", "10.0.0.2"))
    await asyncio.sleep(0.1)
    assert isinstance(agents.state("team-b", "other"), AgentState), "another namespace does not wait"
    asked = len(pods.times("pod-0"))
    await asyncio.sleep(60)
    assert len(pods.times("pod-0")) - asked >= 10, "requests are held for a short time only while others wait"


async def test_large_documents_of_a_namespace_are_asked_for_within_its_budget(agents: Agents, pods: Pods) -> None:
    pods.size = MAX_BYTES
    revisions = count()
    for number in range(10):
        name = f"hostile-{number}"
        pods.documents[name] = lambda name=name: state(pod=name, revision=f"r{next(revisions)}")
        agents.follow(PodAddress("team-a", name, "uid", "10.0.0.1"))
    await asyncio.sleep(200)
    # Each of the ten may be on its way when the budget is used up.
    assert len(pods.asked) * MAX_BYTES <= 200 * BYTES_PER_SECOND + BURST_BYTES + 10 * MAX_BYTES
    assert len(pods.asked) > 100


async def test_the_size_that_is_expected_follows_from_the_adapters_that_a_pod_may_know(pods: Pods) -> None:
    agents = Agents(pods, adapters_on=lambda pod: 100 if pod.namespace == "team-a" else 1_000_000)
    agents.follow(SERVING)
    agents.follow(PodAddress("team-b", POD, "uid", "10.0.0.2"))
    await asyncio.sleep(0.1)
    assert [question.max_bytes for _, _, question in pods.asked] == [(256 + 4 * 100) * 1024, MAX_BYTES]
    await agents.close()


async def test_a_pod_that_tells_of_many_more_adapters_than_there_are_is_not_believed(pods: Pods) -> None:
    there = 100
    agents = Agents(pods, adapters_on=lambda pod: there)

    async def after_telling_of(count: int, revision: str) -> Any:
        pods.say(state(*(adapter(f"a{number}") for number in range(count)), revision=revision))
        await asyncio.sleep(30)
        return agents.state("team-a", POD)

    agents.follow(SERVING)
    assert isinstance(await after_telling_of(150, "a-2"), AgentState), "some are still draining"
    there = 0
    assert isinstance(await after_telling_of(140, "a-3"), AgentState), "all were deleted at once"
    refused = await after_telling_of(150, "a-4")
    assert isinstance(refused, Unreachable)
    assert "more than" in refused.message
    await agents.close()


async def test_whoever_is_told_and_fails_does_not_end_the_following(
    agents: Agents, pods: Pods, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(namespace: str, pod: str, news: AgentNews) -> None:
        raise KeyError(pod)

    agents.on_news = fails
    agents.follow(SERVING)
    await asyncio.sleep(5)
    assert isinstance(agents.state("team-a", POD), AgentState)
    assert pods.open == 1
    assert "news of a pod are lost" in caplog.text


async def test_an_error_of_ours_does_not_end_the_following(agents: Agents, pods: Pods) -> None:
    del pods.documents[POD]
    agents.follow(SERVING)
    await asyncio.sleep(1)
    answer = agents.state("team-a", POD)
    assert isinstance(answer, Unreachable)
    assert "unexpected KeyError" in answer.message
    pods.say(state(adapter()))
    await asyncio.sleep(30)
    assert isinstance(agents.state("team-a", POD), AgentState)


async def test_nothing_is_asked_any_more_after_the_end(pods: Pods) -> None:
    agents = Agents(pods)
    agents.follow(SERVING)
    await asyncio.sleep(5)
    await agents.close()
    assert pods.open == 0
