"""A request that kills, loses or meets a dying engine: whom it reaches, and what the others notice."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.ports import free_port
from tests.serving.conftest import Pod, eventually, pod_named
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.s3.store import ObjectStore
from graft_serving.proxy import ejection

PODS = 5
POISON = "poison"


def make_poisonable(pod: Pod) -> None:
    """Have the pod's engine die of a prompt."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if body.get("prompt") == POISON:
            await pod.engine.crash()
            raise asyncio.CancelledError
        return None

    pod.engine.instead = answer


@contextlib.asynccontextmanager
async def service(pods: Sequence[Pod]) -> AsyncIterator[str]:
    """What kube-proxy does: each connection goes to one of the pods; yields the URL."""
    turn = itertools.cycle([pod.settings.api_port for pod in pods])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", next(turn))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    port = free_port()
    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


@pytest.fixture
async def pods(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> AsyncIterator[list[Pod]]:
    """Pods of one base, whose agents are yet to be started."""
    async with contextlib.AsyncExitStack() as stack:
        pods: list[Pod] = []
        for number in range(PODS):
            publisher = pods[0].publisher if pods else None
            one = pod_named(f"tiny-{number}", tmp_path / str(number), store, client, publisher)
            pods.append(await stack.enter_async_context(one))
            make_poisonable(pods[-1])
        yield pods


@contextlib.asynccontextmanager
async def running(pods: Sequence[Pod], *, on: Sequence[Pod] | None = None) -> AsyncIterator[None]:
    """Run the pods; all of them hold the adapter, or those of `on`."""
    v1 = pods[0].publisher.publish("support")
    entry = wanted_adapter("support", [v1])
    peers = [{"name": pod.settings.pod, "url": pod.peer_url} for pod in pods]
    if on is not None:
        entry |= {"pods": [pod.settings.pod for pod in on]}
    async with contextlib.AsyncExitStack() as stack:
        for pod in pods:
            await stack.enter_async_context(pod.agent())
            pod.want(wanted_set(pod.base, entry) | ({"peers": peers} if on is not None else {}))
        for pod in pods:
            await pod.until_ready()
        yield


def dead(pods: Sequence[Pod]) -> list[str]:
    return [pod.settings.pod for pod in pods if not pod.engine.is_running]


async def test_a_request_that_kills_its_engine_reaches_no_other_one_through_the_service(pods: list[Pod]) -> None:
    async with service(pods) as url:
        for pod in pods:
            pod.settings = pod.settings.model_copy(update={"peer_service_url": url})
        async with running(pods):
            answer = await pods[0].ask("support", prompt=POISON)
            others = [await pods[0].ask("support", prompt=f"hello {number}") for number in range(10)]
    assert dead(pods) == ["tiny-0"]
    assert (answer.status, answer.body["error"]["code"]) == (503, "engine_died")
    assert answer.headers["X-Should-Retry"] == "false", "client libraries would send it to the next engine"
    assert {other.status for other in others} == {200}


async def test_a_request_that_kills_its_engine_reaches_no_other_one_from_pod_to_pod(pods: list[Pod]) -> None:
    async with running(pods, on=pods[1:]):
        answer = await pods[0].ask("support", prompt=POISON)
        others = [await pods[0].ask("support", prompt=f"hello {number}") for number in range(10)]
    assert len(dead(pods)) == 1
    assert (answer.status, answer.body["error"]["code"]) == (503, "engine_died")
    assert {other.status for other in others} == {200}


async def test_a_request_whose_connection_breaks_is_begun_on_one_other_engine_at_most(pods: list[Pod]) -> None:
    begun: list[str] = []

    def breaking(pod: Pod) -> None:
        async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
            if body.get("prompt") != "hello":
                return None
            begun.append(pod.settings.pod)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        pod.engine.instead = answer

    for pod in pods:
        breaking(pod)
    async with running(pods, on=pods[1:]):
        answer = await pods[0].ask("support")
        direct_begun, direct = len(begun), await pods[1].ask("support")
    assert answer.status == direct.status == 503
    assert answer.body["error"]["code"] == "request_lost"
    assert direct_begun == 2
    assert len(set(begun[:2])) == 2
    assert begun[2:].count("tiny-1") == 1
    assert len(begun) == 4


async def test_what_one_engine_lost_while_it_lives_is_answered_by_another_pod(pods: list[Pod]) -> None:
    async def lose(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if body.get("prompt") != "hello":
            return None
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    pods[1].engine.instead = lose
    async with running(pods, on=pods[1:3]):
        answer = await pods[1].ask("support")
        ready = await pods[1].is_ready()
    assert (answer.status, answer.text) == (200, pods[0].expected("support", 1))
    assert ready


async def test_an_engine_that_says_that_it_is_dying_gets_no_further_request(pods: list[Pod]) -> None:
    asked = 0

    async def die(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        nonlocal asked
        asked += body.get("prompt") == "hello"
        message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        error = {"message": message, "type": "InternalServerError", "code": 500}
        return web.json_response({"error": error}, status=500)

    async with running(pods, on=pods[1:3]):
        pods[1].engine.instead = die
        first = await pods[1].ask("support")
        others = [await pods[1].ask("support") for _ in range(10)]

        async def is_down() -> bool:
            return bool((await pods[1].state())["engine"]["state"] == "Down")

        await eventually(is_down)
        pods[1].engine.instead = None
        await pods[1].until_ready()
        again = await pods[1].ask("support")
    assert first.status == 503
    assert [other.status for other in others] == [200] * 10
    assert asked == 1
    assert again.status == 200


async def test_a_client_that_only_writes_of_dying_engines_does_not_make_one_restart(pod: Pod) -> None:
    async def fail(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if body.get("prompt") != "EngineDeadError":
            return None
        return web.json_response({"error": {"message": "can't parse 'EngineDeadError'", "code": 500}}, status=500)

    pod.engine.instead = fail
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_ready()
        loads = len(pod.engine.loads)
        await pod.ask("support", prompt="EngineDeadError")
        await pod.until_answered_by("support", "support@v1")
        state = await pod.state()
    assert state["engine"]["starts"] == 1
    assert len(pod.engine.loads) == loads


async def test_a_stranger_at_the_address_of_a_pod_gets_no_key(pod: Pod, tmp_path: Path) -> None:
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(str(dict(request.headers)))
        return web.json_response({"choices": [{"text": "from nobody"}]})

    (tmp_path / "keys").write_text("sk-secret-of-a-tenant\n")
    pod.settings = pod.settings.model_copy(update={"api_key_file": tmp_path / "keys"})
    program = web.Application()
    program.router.add_post("/{path:.*}", take)
    async with TestServer(program) as server, pod.agent():
        entry = wanted_adapter("support", [pod.publisher.publish("support")]) | {"pods": ["tiny-9"]}
        peers = [{"name": "tiny-9", "url": str(server.make_url("")).rstrip("/")}]
        pod.want(wanted_set(pod.base, entry) | {"peers": peers})
        await pod.until_ready()
        answers = [
            await pod.ask("support", headers={"Authorization": "Bearer sk-secret-of-a-tenant"}),
            await pod.ask("support", headers={"X-Api-Key": "sk-secret-of-a-tenant"}),
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert len(got) == 2
    assert not any("sk-secret" in headers for headers in got)


@pytest.fixture
def long_ejections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a pod that failed asked last for longer than a test takes."""
    monkeypatch.setattr(ejection, "FIRST_SECONDS", 3600)
    monkeypatch.setattr(ejection, "LONGEST_SECONDS", 3600)


class Gone:
    """Somebody at the address of a pod, who breaks every connection."""

    def __init__(self) -> None:
        self.attempts = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield

    async def _count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.abort()


async def until_listed(pod: Pod, *models: str) -> None:
    """Wait until the router of the pod knows these models and no others."""

    async def are_listed() -> bool:
        async with pod.client.get(f"{pod.url}/v1/models") as answer:
            return {model["id"] for model in (await answer.json())["data"]} == {pod.base.name, *models}

    await eventually(are_listed, what=f"the models {models}")


@pytest.mark.usefixtures("long_ejections")
async def test_a_pod_that_can_not_be_reached_is_asked_last_until_it_has_gone_and_come_back(pods: list[Pod]) -> None:
    gone, here = Gone(), {"name": "tiny-1", "url": pods[1].peer_url}
    async with gone.listening(), running(pods[:2], on=pods[1:2]):
        entry = wanted_adapter("support", [pods[0].publisher.publish("support")]) | {"pods": ["tiny-9", "tiny-1"]}
        with_both = wanted_set(pods[0].base, entry) | {"peers": [{"name": "tiny-9", "url": gone.url}, here]}
        for pod in pods[:2]:
            pod.want(with_both)
        await pods[1].until_state("support", 2, "Proven")

        async def ask_often() -> set[int]:
            answers = [await pods[0].ask("support", user=f"user-{number}") for number in range(20)]
            return {answer.status for answer in answers}

        statuses, attempts = await ask_often(), gone.attempts
        another = wanted_adapter("sales", []) | {"onDemand": True}
        pods[0].want(wanted_set(pods[0].base, entry, another) | {"peers": [here]})
        await until_listed(pods[0], "support", "sales")
        pods[0].want(with_both)
        await until_listed(pods[0], "support")
        statuses |= await ask_often()
    assert statuses == {200}
    assert (attempts, gone.attempts) == (1, 2)


@pytest.mark.usefixtures("long_ejections")
async def test_a_pod_whose_answer_breaks_off_in_the_midst_is_asked_last_for_a_while(pods: list[Pod]) -> None:
    async def break_off(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if not body.get("stream"):
            return None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"text":"so far"}]}\n\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with running(pods[:3], on=pods[1:3]):
        for pod in pods[1:3]:
            pod.engine.instead = break_off
        body = {"model": "support", "prompt": "hello", "stream": True}
        async with pods[0].client.post(f"{pods[0].url}/v1/completions", json=body) as stream:
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.content.read()
        before = [pod.engine.generations.total() for pod in pods[1:3]]
        answers = [await pods[0].ask("support", user=f"user-{number}") for number in range(20)]
        asked = [pod.engine.generations.total() - begun for pod, begun in zip(pods[1:3], before, strict=True)]
    assert {answer.status for answer in answers} == {200}
    assert sorted(asked)[0] <= 1, "the base's confirmation, and no request"


async def test_a_pod_declines_what_its_own_engine_may_have_had_already(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_ready()
        begun = pod.engine.generations.total()
        answers = [
            await pod.ask("support", headers={"X-Graft-Forwarded": "1", "X-Graft-Asked": asked})
            for asked in ("tiny-0", "tiny-7,-")
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert pod.engine.generations.total() == begun
