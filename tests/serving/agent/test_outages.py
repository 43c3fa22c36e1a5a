"""The engine crashes, the registry and the API are away, the agent restarts, the pod is told to stop."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import aiohttp
import pytest
from tests.doors import Door
from tests.ports import free_port
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore
from graft_serving import agent


def unreachable_store(port: int) -> ObjectStore:
    return ObjectStore(RegistryConfig(endpoint=f"http://127.0.0.1:{port}", bucket="graft"))


async def test_after_an_engine_restart_every_adapter_is_loaded_again_and_the_pod_ready(pod: Pod) -> None:
    v1, sibling = pod.publisher.publish("support"), pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]), wanted_adapter("sales", [sibling])))
        await pod.until_ready()
        await pod.engine.crash()

        async def is_unready() -> bool:
            return not await pod.is_ready()

        await eventually(is_unready)
        down = await pod.state()
        refused = await pod.ask("support")
        await pod.engine.start()
        await pod.until_ready()
        answers = [await pod.ask("support"), await pod.ask("sales")]
        up = await pod.state()
    assert down["engine"]["state"] == "Down"
    assert down["adapters"][0]["active"] == []
    assert down["adapters"][0]["versions"][0]["state"] == "Pending"
    assert refused.status == 503
    assert [answer.text for answer in answers] == [pod.expected("support", 1), pod.expected("sales", 1)]
    assert up["engine"] == {"state": "Ready", "starts": 2, "message": ""}


async def test_a_restart_between_two_polls_is_noticed_by_the_adapters_that_are_gone(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        pod.engine.adapters.clear()
        lost = await pod.ask("support")
        await pod.until_answered_by("support", "support@v1")
        assert (await pod.state())["engine"]["starts"] == 2
    assert lost.status == 503


async def test_a_busy_engine_may_miss_two_polls_but_not_three(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def lists_take(seconds: float) -> None:
        monkeypatch.setattr("graft_serving.engine.client.LIST_TIMEOUT_SECONDS", seconds)

    monkeypatch.setattr("graft_serving.engine.monitor.SIGN_OF_LIFE_SECONDS", 0.5)
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        lists, polls = pod.engine.lists, pod.engine.lists.comers
        lists.close()
        lists_take(0.5)
        await lists.until_come(polls + 2)
        lists_take(3600)
        await lists.until_come(polls + 3)
        ready, answer = await pod.is_ready(), await pod.ask("support")
        lists_take(0.5)
        lists.let_through()

        async def is_unready() -> bool:
            return not await pod.is_ready()

        await eventually(is_unready)
    assert ready
    assert answer.status == 200


async def test_an_engine_with_slow_lists_lives_while_a_stream_of_it_flows_and_not_because_a_client_waits_for_it(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_serving.engine.monitor.SIGN_OF_LIFE_SECONDS", 2.0)
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        pod.engine.seconds_per_token = 0.02
        body = {"model": "tiny", "prompt": "hello", "max_tokens": 10_000, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as stream:
            monkeypatch.setattr("graft_serving.engine.client.LIST_TIMEOUT_SECONDS", 0.1)
            pod.engine.lists.close()
            await pod.engine.lists.until_come(pod.engine.lists.comers + 15)
            while_it_flows = await pod.is_ready()
            pod.engine.streams.close()

            async def is_unready() -> bool:
                return not await pod.is_ready()

            await eventually(is_unready)
            assert not stream.content.at_eof(), "the client still waits"
    assert while_it_flows


async def test_an_agent_that_restarts_with_api_and_registry_away_serves_from_its_disk(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_ready()
    pod.store = unreachable_store(free_port())
    await pod.engine.crash()
    await pod.engine.start()
    async with pod.agent():
        await pod.until_ready()
        answer = await pod.ask("support")
    assert answer.text == pod.expected("support", 2)


async def test_an_agent_that_restarts_beside_a_living_engine_proves_again_but_loads_nothing(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    for _ in range(2):
        async with pod.agent():
            pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
            await pod.until_ready()
            assert (await pod.ask("support")).text == pod.expected("support", 1)
    assert pod.engine.loads == [v1.engine_name]


async def test_a_restarted_agent_keeps_the_former_route_when_the_wanted_one_was_refused(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        v2 = pod.publisher.publish("support", golden_of=b"other weights")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_state("support", 2, "Refused")
    async with pod.agent():
        await pod.until_answered_by("support", "support@v1")
        await pod.until_ready()


async def test_a_file_that_was_damaged_on_the_disk_is_fetched_again(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
    await pod.engine.crash()
    cached = pod.folder_of(v1) / "adapter_model.safetensors"
    cached.write_bytes(cached.read_bytes()[:-1])
    await pod.engine.start()
    async with pod.agent():
        await pod.until_ready()
        answer = await pod.ask("support")
    assert answer.text == pod.expected("support", 1)


async def test_what_an_earlier_life_of_the_agent_left_is_unloaded_before_its_files_go(pod: Pod) -> None:
    v1, gone = pod.publisher.publish("support"), pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]), wanted_adapter("sales", [gone])))
        await pod.until_ready()
    (pod.settings.adapters_dir / ".agent" / "wanted.json").unlink()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()

        await pod.until_evicted(gone)
    assert list(pod.engine.adapters) == [v1.engine_name]


async def test_a_pod_whose_registry_is_away_waits_and_starts_once_it_is_back(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    key = "team-a/adapters/support/versions/00000001/manifest.json"
    content = pod.store.get(key)
    pod.store.delete(key)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_state("support", 1, "Failing")
        await asyncio.sleep(0.3)  # another try, and more
        assert not await pod.is_ready()
        pod.store.put(key, content)
        await pod.until_ready()


class Life:
    """An agent that a test tells to stop, and goes on looking at meanwhile."""

    def __init__(self, pod: Pod) -> None:
        self.stop = asyncio.Event()
        self._started = asyncio.Event()
        self._pod = pod
        self._task = asyncio.create_task(self._live())

    async def started(self, *adapters: dict[str, object]) -> None:
        """Wait until it serves these."""
        await self._started.wait()
        self._pod.want(wanted_set(self._pod.base, *adapters))
        await self._pod.until_ready()

    async def ended(self) -> None:
        async with asyncio.timeout(120):
            await self._task

    async def _live(self) -> None:
        async with self._pod.agent():
            self._started.set()
            await self.stop.wait()


async def until_refused(*ports: int) -> None:
    """Wait until nobody listens on these ports."""

    async def are_refused() -> bool:
        for port in ports:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return False
        return True

    await eventually(are_refused, what=f"the end of listening on {ports}")


async def test_on_shutdown_the_pod_is_unready_yet_answers_until_the_drain_time_is_over(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain, drains_of = Door(), []
    drain.close()

    async def sleep(seconds: float) -> None:
        drains_of.append(seconds)
        await drain.pass_through()

    monkeypatch.setattr(agent, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    pod.settings = pod.settings.model_copy(update={"drain_seconds": 7.0, "shutdown_seconds": 120.0})
    life = Life(pod)
    await life.started(wanted_adapter("support", [pod.publisher.publish("support")]))
    life.stop.set()
    await drain.until_waiting()
    assert not await pod.is_ready()
    new = await pod.ask("support")
    pod.engine.answers.close()
    asking = asyncio.create_task(pod.ask("support"))
    await pod.engine.answers.until_waiting()
    drain.open()
    await until_refused(pod.settings.api_port)
    assert not asking.done(), "the request that was under way at the end is waited for"
    pod.engine.answers.open()
    long = await asking
    await life.ended()
    assert new.status == long.status == 200
    assert new.headers["Connection"] == "close"
    assert drains_of == [7.0]


async def streams_to(pod: Pod, requests: contextlib.AsyncExitStack) -> list[aiohttp.ClientResponse]:
    """Begin a stream of a client's and one of another pod's, which the engine holds after their first token."""
    pod.engine.streams.close()
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 100, "stream": True}
    answers = []
    for url in (pod.url, pod.peer_url):
        asking = pod.client.post(f"{url}/v1/completions", json=body, headers=pod.peer_headers())
        answers.append(await requests.enter_async_context(asking))
        assert await answers[-1].content.readline()
    return answers


async def test_on_shutdown_clients_and_other_pods_have_the_same_time_not_one_after_the_other(pod: Pod) -> None:
    # The time that Kubernetes gives a pod to end is long enough for one of them.
    pod.settings = pod.settings.model_copy(update={"shutdown_seconds": 240.0})
    life = Life(pod)
    await life.started()
    async with contextlib.AsyncExitStack() as requests:
        answers = await streams_to(pod, requests)
        life.stop.set()
        await until_refused(pod.settings.api_port, pod.settings.peer_port)
        pod.engine.streams.open()
        ends = [await answer.content.read() for answer in answers]
    await life.ended()
    assert [end[-14:] for end in ends] == [b"data: [DONE]\n\n"] * 2


async def test_on_shutdown_requests_that_do_not_end_are_cut_off(pod: Pod) -> None:
    pod.settings = pod.settings.model_copy(update={"shutdown_seconds": 1.0})
    life = Life(pod)
    await life.started()
    async with contextlib.AsyncExitStack() as requests:
        await streams_to(pod, requests)
        stopped = time.monotonic()
        life.stop.set()
        await life.ended()
    assert time.monotonic() - stopped > 0.9


async def test_what_was_dropped_while_the_engine_was_down_goes_as_soon_as_it_is_back(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        await pod.engine.crash()

        async def is_unready() -> bool:
            return not await pod.is_ready()

        await eventually(is_unready)
        pod.want(wanted_set(pod.base))
        await pod.until_state("support", 1, "Draining")
        assert pod.folder_of(v1).exists()
        await pod.engine.start()
        await pod.until_state("support", 1, None)
        await pod.until_evicted(v1)
