"""One request to an agent, against a real HTTP server on loopback that does whatever a pod may do."""

from __future__ import annotations

import asyncio
import gzip
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.unit.agents.states import POD, adapter, state, text

from graft_operator.agents import AgentNews, Agents, AgentState, PodAddress, Unreachable, client
from graft_operator.agents.budget import DOCUMENTS_READ, NamespaceBudget
from graft_operator.agents.client import MAX_BYTES, SMALL_BYTES, AgentClient, Question
from graft_operator.agents.state_parser import read_state

SERVING = PodAddress("team-a", POD, "uid-0", "127.0.0.1")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Agent:
    """Answers `/state` as `handler` does."""

    def __init__(self) -> None:
        self.handler: Handler = answers(state(adapter()))
        self.requests: list[web.Request] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.handler(request)


def answers(document: Any, status: int = 200, **headers: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=text(document), status=status, headers=named)

    return handle


def streams(*chunks: bytes, forever: bool = False, pause: float = 0.0) -> Handler:
    """Answer in chunks, without saying how long the answer is."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            for chunk in chunks:
                await response.write(chunk)
                await asyncio.sleep(pause)
            if not forever:
                return response

    return handle


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


def large(size: int = 1_000_000, **fields: Any) -> bytes:
    return text(state(adapter(), **fields)) + b" " * size


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent()
    application = web.Application()
    application.router.add_get("/state", agent.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    agent.port = runner.addresses[0][1]
    yield agent
    await runner.cleanup()


@pytest.fixture
async def asking(agent: Agent) -> AsyncIterator[AgentClient]:
    async with AgentClient.connect(port=agent.port) as asking:
        yield asking


async def ask(asking: AgentClient, question: Question | None = None) -> AgentState | Unreachable:
    return await asking.ask(SERVING, question or Question(), NamespaceBudget(), read_state)


async def test_a_state_is_read(asking: AgentClient, agent: Agent) -> None:
    assert isinstance(await ask(asking), AgentState)
    assert dict(agent.requests[0].query) == {}


async def test_news_are_asked_for_by_revision(asking: AgentClient, agent: Agent) -> None:
    await ask(asking, Question(since="a-1", held_seconds=20))
    assert dict(agent.requests[0].query) == {"since": "a-1", "waitSeconds": "20"}


BOMB = gzip.compress(b"0" * 10_000_000)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (answers("starting", status=503), "answered 503"),
        (answers("", status=302, Location="/elsewhere"), "answered 302"),
        (answers("", status=204), "answered 204"),
        (answers(b"<html>"), "no valid state"),
        (answers(b""), "no valid state"),
        (answers(state(ready=None)), "no valid state.*ready"),
        (answers(BOMB, Content_Encoding="gzip"), "encoding"),
        (answers(b" " * (MAX_BYTES + 1)), "more than"),
        (streams(b" " * 100_000, forever=True), "more than"),
        (streams(b"[", forever=True, pause=0.01), "Timeout"),
        (streams(b" " * (SMALL_BYTES + 1), b"[" * 10, forever=True, pause=0.01), "Timeout"),
        (hangs, "Timeout"),
        (breaks_off, "failed"),
        (answers(state(adapter()), X_Large="x" * 20_000), "failed"),
    ],
    ids=[
        "503",
        "redirect",
        "204",
        "html",
        "empty",
        "no state",
        "gzip",
        "too long",
        "endless",
        "slow drip",
        "slow drip of a large document",
        "hangs",
        "breaks off",
        "headers",
    ],
)
async def test_an_unusable_answer_is_a_value(
    asking: AgentClient, agent: Agent, handler: Handler, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An answer that is there is not to come too late, however busy the machine is.
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.5 if why == "Timeout" else 60)
    agent.handler = handler
    answer = await ask(asking)
    assert isinstance(answer, Unreachable)
    assert re.search(why, answer.message), answer.message
    assert len(answer.message) <= 1024
    assert len(agent.requests) == 1, "a redirect is not followed"


async def test_a_document_of_more_than_the_expected_size_is_not_even_read(asking: AgentClient, agent: Agent) -> None:
    agent.handler = answers(large(500_000))
    answer = await ask(asking, Question(max_bytes=400_000))
    assert isinstance(answer, Unreachable)
    assert "answered more than 400000 bytes" in answer.message


async def test_nobody_listens(asking: AgentClient) -> None:
    answer = await asking.ask(PodAddress("team-a", POD, "uid", "127.0.0.2"), Question(), NamespaceBudget(), read_state)
    assert isinstance(answer, Unreachable)
    assert "127.0.0.2" in answer.message


async def test_what_a_pod_sets_is_not_sent_to_the_next_one_at_its_address(asking: AgentClient, agent: Agent) -> None:
    agent.handler = answers(state(adapter()), Set_Cookie="tenant=a; Path=/")
    await ask(asking)
    await ask(asking)
    assert [dict(request.cookies) for request in agent.requests] == [{}, {}]


@pytest.mark.parametrize(("document", "elsewhere"), [(text(state(adapter())), False), (large(), True)])
async def test_large_documents_are_read_beside_the_loop(
    asking: AgentClient, agent: Agent, document: bytes, elsewhere: bool
) -> None:
    agent.handler, threads = answers(document), []

    def read(raw: bytearray) -> AgentState:
        threads.append(threading.current_thread())
        return read_state(raw)

    answer = await asking.ask(SERVING, Question(), NamespaceBudget(), read)
    assert isinstance(answer, AgentState)
    assert [thread is not threading.current_thread() for thread in threads] == [elsewhere]


async def test_a_namespace_reads_few_large_documents_at_once_and_no_other_waits_for_it(
    asking: AgentClient, agent: Agent
) -> None:
    bodies, budget = asyncio.Event(), NamespaceBudget()

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(large(SMALL_BYTES))
        await bodies.wait()
        return response

    agent.handler = drips
    hostile = [asyncio.create_task(asking.ask(SERVING, Question(), budget, read_state)) for _ in range(10)]
    async with asyncio.timeout(60):
        while not budget.documents.locked() or len(agent.requests) < 10:  # noqa: ASYNC110 -- any condition
            await asyncio.sleep(0.005)
    agent.handler = answers(large())
    assert isinstance(await ask(asking), AgentState), f"beside {DOCUMENTS_READ} that are not done"
    assert not any(task.done() for task in hostile)
    bodies.set()
    assert all(isinstance(answer, AgentState) for answer in await asyncio.gather(*hostile))


async def test_pods_are_followed_over_http_from_the_first_state_to_the_next(agent: Agent) -> None:
    changed = asyncio.Event()

    async def holds(request: web.Request) -> web.StreamResponse:
        if request.query.get("since") == "a-1":
            await changed.wait()
        document = state(adapter(), revision="a-2", ready=False) if changed.is_set() else state(adapter())
        return web.Response(body=text(document))

    agent.handler = holds
    told: asyncio.Queue[AgentNews] = asyncio.Queue()
    async with asyncio.timeout(60), Agents.connect(port=agent.port) as agents:
        agents.on_news = lambda namespace, pod, news: told.put_nowait(news)
        agents.follow(SERVING)
        assert await told.get() == AgentNews(frozenset({"support"}), base=True)
        changed.set()
        assert await told.get() == AgentNews(frozenset(), base=True)
        known = agents.state("team-a", POD)
        assert isinstance(known, AgentState)
        assert known.revision == "a-2"


def test_an_ipv6_address_is_bracketed() -> None:
    assert PodAddress("ns", "p", "u", "fd00::1").host == "[fd00::1]"
