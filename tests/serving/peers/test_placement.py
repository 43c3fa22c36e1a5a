"""An adapter that is not on every pod: whoever is asked, one that holds it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.conftest import Pod, eventually, pod_named
from tests.serving.published import wanted_adapter, wanted_set
from tests.serving.rollout.test_rollout import until_more

from graft_registry.s3.store import ObjectStore
from graft_registry.versions import StoredVersion
from graft_serving.api.listening import MOST_HEADERS


class Pods:
    """Pods of one base; each is named by its number."""

    def __init__(self, pods: list[Pod]) -> None:
        self.pods = pods

    def __getitem__(self, number: int) -> Pod:
        return self.pods[number]

    def publish(self) -> StoredVersion:
        """Publish the next version of the adapter."""
        return self[0].publisher.publish("support")

    def want(self, on: list[int], *versions: StoredVersion, weights: tuple[int, ...] = (), **fields: object) -> None:
        """Tell every pod that those of these numbers hold the adapter."""
        route = list(zip(versions, weights, strict=True)) if weights else None
        names = [self[number].settings.pod for number in on]
        entry = wanted_adapter("support", list(versions), route) | {"pods": names} | fields
        document = wanted_set(self[0].base, entry) | {"peers": [peer_of(pod) for pod in self.pods]}
        for pod in self.pods:
            pod.want(document)

    def remember_a_pod_that_is_gone(self, url: str, v1: StoredVersion) -> None:
        """Leave all but the last one with a set of before a pod went, whose address is another one's now."""
        entry = wanted_adapter("support", [v1]) | {"pods": ["tiny-9", "tiny-1"]}
        peers = [{"name": "tiny-9", "url": url}, peer_of(self[1])]
        for pod in self.pods[:2]:
            pod.want(wanted_set(pod.base, entry) | {"peers": peers})

    async def until_ready(self) -> None:
        """Wait until every pod is."""
        for pod in self.pods:
            await pod.until_ready()


def peer_of(pod: Pod) -> dict[str, str]:
    return {"name": pod.settings.pod, "url": pod.peer_url}


@pytest.fixture
async def pods(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> AsyncIterator[Pods]:
    """Three pods with their agents."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(pod_named("tiny-0", tmp_path / "0", store, client))
        others = [
            await stack.enter_async_context(
                pod_named(f"tiny-{number}", tmp_path / str(number), store, client, first.publisher)
            )
            for number in (1, 2)
        ]
        for pod in (first, *others):
            await stack.enter_async_context(pod.agent())
        yield Pods([first, *others])


async def test_every_pod_answers_and_one_holds_the_adapter(pods: Pods) -> None:
    v1 = pods.publish()
    pods.want([1], v1)
    await pods.until_ready()
    for pod in pods.pods:
        answer = await pod.ask("support")
        assert (answer.status, answer.text) == (200, pod.expected("support", 1))
        assert answer.body["model"] == "support"
        assert answer.headers["X-Graft-Version"] == "support@v1"
    assert [list(pod.engine.adapters) for pod in pods.pods] == [[], [v1.engine_name], []]


@pytest.mark.parametrize("asked", [0, 1])
async def test_how_many_headers_a_request_may_have_does_not_depend_on_the_pod(pods: Pods, asked: int) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    body = b'{"model":"support","prompt":"x","max_tokens":1}'

    async def status_with(headers: int) -> int:
        lines = [b"Host: x", b"Content-Length: %d" % len(body), b"Connection: close"]
        lines += [b"X-Header-%d: 1" % number for number in range(headers - len(lines))]
        reader, writer = await asyncio.open_connection("127.0.0.1", pods[asked].settings.api_port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body)
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    assert {await status_with(headers) for headers in (100, 110, 120, MOST_HEADERS)} == {200}
    assert await status_with(MOST_HEADERS + 1) == 431


async def test_a_request_for_one_on_demand_waits_where_it_comes_in_and_then_where_it_is_loaded(pods: Pods) -> None:
    v1 = pods.publish()
    absent = wanted_set(pods[0].base, wanted_adapter("support", []) | {"onDemand": True})
    for pod in pods.pods:
        pod.want(absent)
    await pods.until_ready()
    asking = asyncio.create_task(pods[0].ask("support"))

    async def is_told() -> bool:
        return bool((await pods[0].state())["adapters"][0]["lastAsked"])

    await eventually(is_told, what="news of the request")
    loads = pods[1].engine.load_doors["support"]
    loads.close()
    pods.want([1], v1, onDemand=True)
    await loads.until_waiting()
    assert not asking.done()
    loads.open()
    answer = await asking
    assert (answer.status, answer.text) == (200, pods[0].expected("support", 1))
    assert list(pods[0].engine.adapters) == []


async def test_a_pod_without_the_adapter_is_ready_and_lists_it(pods: Pods) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    async with pods[0].client.get(f"{pods[0].url}/v1/models") as response:
        models = (await response.json())["data"]
    assert [model["id"] for model in models] == ["tiny", "support"]
    assert (await pods[0].state())["adapters"][0]["active"] == []


async def test_a_stream_comes_through_chunk_by_chunk_and_ends_with_its_client(pods: Pods) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    pods[1].engine.streams.close()
    body = {"model": "support", "prompt": "hello", "max_tokens": 200, "stream": True}
    async with pods[0].client.post(f"{pods[0].url}/v1/completions", json=body) as response:
        first = await response.content.readline()
        assert response.headers["X-Graft-Version"] == "support@v1"
    assert b'"model":"support"' in first

    async def has_stopped() -> bool:
        return pods[1].engine.disconnected == 1

    await eventually(has_stopped, what="the end of the generation on the other pod")


async def test_the_next_peer_answers_when_one_is_gone_or_has_lost_its_engine(pods: Pods) -> None:
    pods.want([1, 2], pods.publish())
    await pods.until_ready()
    await pods[1].engine.crash()
    answers = [await pods[0].ask("support", user=f"user-{number}") for number in range(8)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["X-Graft-Version"] for answer in answers} == {"support@v1"}
    # The pod that holds it, but has lost its engine, asks the other one as well.
    assert (await pods[1].ask("support")).status == 200


async def test_when_nobody_is_left_the_client_is_told_to_come_again_and_the_base_does_not_answer(pods: Pods) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    await pods[1].engine.crash()
    answer = await pods[0].ask("support")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Graft-Version"] == "none"
    assert answer.body["error"]["code"] == "model_unavailable"
    assert "any replica that can be reached" in answer.body["error"]["message"]


async def test_what_a_peer_has_sent_is_not_sent_on(pods: Pods) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    body, headers = {"model": "support", "prompt": "hello"}, pods[2].peer_headers()
    async with pods[0].client.post(f"{pods[2].peer_url}/v1/completions", json=body, headers=headers) as response:
        assert response.status == 503
        assert response.headers["X-Graft-Version"] == "none"


async def test_a_pod_that_has_the_address_of_one_that_is_gone_does_not_answer_for_it(
    pods: Pods,
) -> None:
    # Such a pod may be of another base, or of another tenant whose adapter has the same name.
    v1, others = pods.publish(), pods.publish()
    pods.remember_a_pod_that_is_gone(pods[2].peer_url, v1)
    pods[2].want(wanted_set(pods[2].base, wanted_adapter("support", [others])))
    await pods.until_ready()
    proven_by = pods[2].engine.generations[others.engine_name]
    answers = [await pods[0].ask("support", user=f"user-{number}") for number in range(8)]
    assert {(answer.status, answer.headers["X-Graft-Version"]) for answer in answers} == {(200, "support@v1")}
    assert pods[2].engine.generations[others.engine_name] == proven_by


async def test_a_program_that_has_the_address_of_a_pod_that_is_gone_does_not_answer_for_it(pods: Pods) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"model": "support", "choices": [{"text": "from nobody"}]})

    program = web.Application()
    program.router.add_post("/{path:.*}", answer)
    async with TestServer(program) as server:
        v1 = pods.publish()
        pods.remember_a_pod_that_is_gone(str(server.make_url("")).rstrip("/"), v1)
        pods[2].want(wanted_set(pods[2].base))
        await pods.until_ready()
        answers = [await pods[0].ask("support", user=f"user-{number}") for number in range(8)]
    assert {answer.headers["X-Graft-Version"] for answer in answers} == {"support@v1"}


async def test_what_came_from_another_revision_still_finds_the_pod_that_holds_it(pods: Pods) -> None:
    pods.want([1], pods.publish())
    await pods.until_ready()
    answer = await pods[0].ask("support", headers={"X-Graft-Forwarded": "1"})
    assert answer.headers["X-Graft-Version"] == "support@v1"


async def test_a_session_has_one_version_of_a_canary_whichever_pod_is_asked(pods: Pods) -> None:
    v1, v2 = pods.publish(), pods.publish()
    pods.want([1, 2], v1, v2, weights=(50, 50))
    await pods.until_ready()
    seen: dict[str, set[str]] = {}
    for number in range(20):
        session = f"user-{number}"
        answers = [await pod.ask("support", headers={"X-Graft-Session": session}) for pod in pods.pods]
        seen[session] = {answer.headers["X-Graft-Version"] for answer in answers}
    assert all(len(versions) == 1 for versions in seen.values())
    assert set().union(*seen.values()) == {"support@v1", "support@v2"}


async def test_a_move_to_another_pod_fails_no_request(pods: Pods) -> None:
    v1 = pods.publish()
    pods.want([1], v1)
    await pods.until_ready()
    loads = pods[2].engine.load_doors["support"]
    loads.close()
    asked: list[Pod] = []
    failed: list[object] = []

    async def keep_asking(stop: asyncio.Event) -> None:
        while not stop.is_set():
            for pod in pods.pods:
                answer = await pod.ask("support")
                asked.append(pod)
                if answer.status != 200 or answer.text != pod.expected("support", 1):
                    failed.append((pod.settings.pod, answer.status, answer.body))
            await asyncio.sleep(0.01)

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as users:
        for _ in range(2):
            users.create_task(keep_asking(stop))
        pods.want([1, 2], v1)
        await loads.until_waiting()
        await until_more(asked, 12)
        loads.open()
        await pods[2].until_state("support", 1, "Proven")
        pods.want([2], v1)
        await pods[1].until_state("support", 1, None)
        await until_more(asked, 12)
        stop.set()
    assert failed == []
    assert [list(pod.engine.adapters) for pod in pods.pods] == [[], [], [v1.engine_name]]
