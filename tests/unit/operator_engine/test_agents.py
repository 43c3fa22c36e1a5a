"""The agents client against a real HTTP server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from graft_operator.agents import Agents, AgentState, PodAddress, Reader, Unreachable
from graft_operator.agents.client import MAX_BYTES

pytestmark = pytest.mark.looptime(False)

POD = PodAddress("team-a", "serving-0", "uid-0", "127.0.0.1")
STATE: dict[str, Any] = {
    "schema": "graft.dev/agent/v1",
    "pod": "serving-0",
    "wantedDigest": "sha256:" + "a" * 64,
    "base": {"name": "tiny", "digest": "sha256:" + "b" * 64},
    "engine": {"state": "Ready", "starts": 1, "message": ""},
    "ready": True,
    "adapters": [
        {
            "name": "support",
            "active": [{"number": 7, "weight": 100}],
            "versions": [
                {
                    "number": 7,
                    "manifestDigest": "sha256:" + "c" * 64,
                    "engineName": "support--v7-cccccccc",
                    "state": "Proven",
                    "reason": "",
                    "message": "",
                    "inflight": 0,
                    "requests": 10,
                    "errors": 0,
                    "loadSeconds": 0.2,
                }
            ],
        }
    ],
}


class Agent:
    """Answers `/state` with `body`; counts requests; holds answers back while `gate` is cleared.

    A request for news of a revision is held until the body has another one.
    """

    def __init__(self) -> None:
        self.body: Any = STATE
        self.status = 200
        self.requests = 0
        self.held = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        await self.gate.wait()
        if (since := request.query.get("since")) is not None:
            self.held += 1
            while self.body.get("revision") == since:  # noqa: ASYNC110 - tests replace the body as they like
                await asyncio.sleep(0.005)
            self.held -= 1
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(text=text, status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def agent() -> Agent:
    return Agent()


@pytest.fixture
async def port(agent: Agent) -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_get("/state", agent.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def agents(port: int) -> AsyncIterator[Agents]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        yield Agents(session, port=port)


async def test_the_state_is_parsed(agents: Agents) -> None:
    state = await agents.state(POD)
    assert isinstance(state, AgentState)
    (adapter,) = state.adapters
    assert (adapter.name, adapter.active[0].number, adapter.active[0].weight) == ("support", 7, 100)
    assert (adapter.versions[0].state, adapter.versions[0].engine_name) == ("Proven", "support--v7-cccccccc")


async def test_fields_of_a_newer_agent_are_ignored(agents: Agents, agent: Agent) -> None:
    agent.body = {**STATE, "novelty": 1, "engine": {**STATE["engine"], "novelty": 1}}
    assert isinstance(await agents.state(POD), AgentState)


async def test_callers_share_one_request_and_its_answer_for_a_while(agents: Agents, agent: Agent) -> None:
    agent.gate.clear()
    asking = [asyncio.create_task(agents.state(POD)) for _ in range(5)]
    await asyncio.sleep(0.02)
    agent.gate.set()
    answers = await asyncio.gather(*asking)
    assert await agents.state(POD) is answers[0]
    assert agent.requests == 1


async def test_a_caller_that_gives_up_takes_nothing_from_the_others(agents: Agents, agent: Agent) -> None:
    agent.gate.clear()
    impatient, patient = (asyncio.create_task(agents.state(POD)) for _ in range(2))
    await asyncio.sleep(0.02)
    impatient.cancel()
    agent.gate.set()
    assert isinstance(await patient, AgentState)
    assert agent.requests == 1


async def test_the_answer_is_asked_for_again_after_its_time(port: int, agent: Agent) -> None:
    async with aiohttp.ClientSession() as session:
        agents = Agents(session, port=port, ttl=0.0)
        await agents.state(POD)
        await agents.state(POD)
    assert agent.requests == 2


async def test_a_pod_that_hangs_is_left_alone_for_as_long_as_it_took_to_find_out(port: int, agent: Agent) -> None:
    agent.gate.clear()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        agents = Agents(session, port=port, ttl=0.0)
        early = asyncio.create_task(agents.state(POD))
        await asyncio.sleep(0.1)
        hung = await agents.state(POD)
        assert isinstance(hung, Unreachable)
        assert await early is hung
        assert await agents.state(POD) is hung
        agent.gate.set()
        await asyncio.sleep(0.4)
        assert isinstance(await agents.state(POD), AgentState)
    assert agent.requests == 2


async def test_an_answer_is_not_used_after_the_pod_changed(agents: Agents, agent: Agent) -> None:
    await agents.state(POD)
    agents.invalidate("team-a", "another-pod")
    await agents.state(POD)
    assert agent.requests == 1
    agents.invalidate("team-a", "serving-0")
    await agents.state(POD)
    assert agent.requests == 2


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, "starting", "answered 503"),
        (302, "", "answered 302"),
        (200, "<html>", "no valid state"),
        (200, {**STATE, "schema": "graft.dev/agent/v2"}, "no valid state: schema"),
        (200, {**STATE, "ready": None}, "no valid state: ready"),
        (200, {**STATE, "pod": "another"}, "answered as pod 'another', not 'serving-0'"),
        (200, " " * (MAX_BYTES + 1), "more than"),
    ],
)
async def test_an_unusable_answer_is_a_value(agents: Agents, agent: Agent, status: int, body: Any, why: str) -> None:
    agent.status, agent.body = status, body
    answer = await agents.state(POD)
    assert isinstance(answer, Unreachable)
    assert why in answer.message


async def test_a_pod_that_hangs_or_refuses_does_not_hide_its_siblings(agents: Agents, agent: Agent) -> None:
    gone = PodAddress("team-a", "serving-1", "uid-1", "127.0.0.2")
    answers = await agents.states([POD, gone])
    assert isinstance(answers["serving-0"], AgentState)
    assert isinstance(answers["serving-1"], Unreachable)
    agent.gate.clear()
    agents.invalidate("team-a", "serving-0")
    hung = await agents.state(POD)
    assert isinstance(hung, Unreachable)
    assert "Timeout" in hung.message
    agent.gate.set()


def loaded(revision: str, **states: str) -> dict[str, Any]:
    """Return the state with version 8 of each adapter in the given state."""
    version = {"number": 8, "manifestDigest": "sha256:" + "d" * 64}
    adapters = [{"name": name, "versions": [version | {"state": state}]} for name, state in states.items()]
    return STATE | {"revision": revision, "adapters": adapters}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)


async def test_who_waits_for_news_is_told_once_and_finds_the_answer_there(agents: Agents, agent: Agent) -> None:
    agent.body, told = loaded("a-1", support="Loading", sales="Loading"), []
    agents.tell_news(lambda namespace, reader: told.append((namespace, reader)))
    await agents.state(POD)
    for adapter in ("support", "sales"):
        agents.expect_news("team-a", adapter, {"serving-0": "a-1"})
    await until(lambda: agent.held == 1)
    agent.body = loaded("a-2", support="Proven", sales="Proving")
    await until(lambda: bool(told))
    assert told == [("team-a", Reader("support"))]
    state = await agents.state(POD)
    assert isinstance(state, AgentState)
    assert state.revision == "a-2"
    await until(lambda: agent.held == 1)
    assert agent.requests == 3, "one look, and one request for each change: one for both adapters"
    agent.body = loaded("a-3", support="Refused", sales="Failing")
    await until(lambda: len(told) == 2)
    assert told[1] == ("team-a", Reader("sales")), "support has been told of; nobody waits for it any more"


def asked(revision: str, **times: str) -> dict[str, Any]:
    """Return the state in which adapters that are not loaded were last asked at these times."""
    return STATE | {"revision": revision, "adapters": [{"name": n, "lastAsked": time} for n, time in times.items()]}


async def test_a_base_is_told_when_somebody_asks_for_what_is_not_loaded(agents: Agents, agent: Agent) -> None:
    agent.body, told = asked("a-1", support="2026-01-01T00:00:00Z"), []
    agents.tell_news(lambda namespace, reader: told.append((namespace, reader)))
    await agents.state(POD)
    agents.expect_demand("team-a", "tiny", {"serving-0": "a-1"})
    await until(lambda: agent.held == 1)
    agent.body = asked("a-2", support="2026-01-01T00:00:00Z")
    await until(lambda: agent.requests == 3)
    assert told == [], "something else has happened there"
    agent.body = asked("a-3", support="2026-01-01T00:00:00Z", sales="2026-01-01T00:00:09Z")
    await until(lambda: bool(told))
    assert told == [("team-a", Reader("tiny", is_base=True))]


async def test_news_that_came_while_somebody_looked_elsewhere_is_told_at_once(agents: Agents, agent: Agent) -> None:
    agent.body, told = loaded("a-2", support="Proven"), []
    agents.tell_news(lambda namespace, reader: told.append(reader))
    await agents.state(POD)
    agents.expect_news("team-a", "support", {"serving-0": "a-1"})
    assert told == [Reader("support")]


async def test_agents_that_hold_no_requests_are_left_to_the_clock(agents: Agents, agent: Agent) -> None:
    agents.tell_news(lambda namespace, reader: pytest.fail("there are no news"))
    await agents.state(POD)
    agents.expect_news("team-a", "support", {"serving-0": "", "serving-1": ""})
    await asyncio.sleep(0.05)
    assert agent.requests == 1


async def test_a_pod_that_could_not_be_asked_is_left_to_the_clock(agents: Agents, agent: Agent) -> None:
    agent.body = loaded("a-1", support="Loading")
    agents.tell_news(lambda namespace, reader: pytest.fail("whoever is told looks again, finds nothing, and so on"))
    await agents.state(POD)
    agent.status = 503
    agents.expect_news("team-a", "support", {"serving-0": ""})


async def test_a_held_request_that_fails_does_not_make_the_pod_one_that_cannot_be_asked(
    agents: Agents, agent: Agent
) -> None:
    agent.body = loaded("a-1", support="Loading")
    await agents.state(POD)
    agents.expect_news("team-a", "support", {"serving-0": "a-1"})
    await until(lambda: agent.held == 1)
    agent.status, agent.body = 503, loaded("a-2", support="Loading")
    await until(lambda: agent.held == 0)
    await asyncio.sleep(0.05)
    agent.status = 200
    assert isinstance(await agents.state(POD), AgentState)


def test_an_ipv6_address_is_bracketed() -> None:
    assert PodAddress("ns", "p", "u", "fd00::1").host == "[fd00::1]"
