"""The engine crashes, the registry and the API are away, the agent restarts, the pod is told to stop."""

import asyncio
import contextlib
import time

import pytest
from tests.ports import free_port
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore


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
    monkeypatch.setattr("graft_serving.engine.client.LIST_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("graft_serving.engine.monitor.ANSWERED_LATELY_SECONDS", 0.5)
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        pod.engine.hangs = True
        polls = pod.engine.polls

        async def second_poll_hangs() -> bool:
            return pod.engine.polls == polls + 2

        await eventually(second_poll_hangs)
        ready, answer = await pod.is_ready(), await pod.ask("support")

        async def is_unready() -> bool:
            return not await pod.is_ready()

        await eventually(is_unready)
    assert ready
    assert answer.status == 200


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
        await asyncio.sleep(1.0)
        assert not await pod.is_ready()
        pod.store.put(key, content)
        await pod.until_ready()


async def test_on_shutdown_the_pod_is_unready_yet_answers_until_the_drain_time_is_over(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    pod.settings = pod.settings.model_copy(update={"drain_seconds": 0.5})
    pod.engine.seconds_per_token = 0.1
    stop = asyncio.Event()

    async def life() -> None:
        async with pod.agent():
            await stop.wait()

    running = asyncio.create_task(life())

    async def listens() -> bool:
        try:
            return bool(await pod.state())
        except OSError:
            return False

    await eventually(listens)
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
    await pod.until_ready()
    stop.set()
    stopped = time.monotonic()

    async def is_unready() -> bool:
        return not await pod.is_ready()

    await eventually(is_unready)
    new = await pod.ask("support", max_tokens=2)
    long = await pod.ask("support", max_tokens=10)
    await running
    assert new.status == long.status == 200
    assert new.headers["Connection"] == "close"
    assert time.monotonic() - stopped > 0.9, "the request that was under way at the end was not waited for"


async def test_on_shutdown_clients_and_other_pods_have_the_same_time_not_one_after_the_other(pod: Pod) -> None:
    # The time that Kubernetes gives a pod to end is long enough for one of them.
    pod.settings = pod.settings.model_copy(update={"shutdown_seconds": 1.0})
    pod.engine.seconds_per_token = 0.1
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 100, "stream": True}
    async with contextlib.AsyncExitStack() as requests:
        async with pod.agent():
            pod.want(wanted_set(pod.base))
            await pod.until_ready()
            for url in (pod.url, pod.peer_url):
                asking = pod.client.post(f"{url}/v1/completions", json=body, headers=pod.peer_headers())
                answer = await requests.enter_async_context(asking)
                assert await answer.content.readline()
            stopped = time.monotonic()
        assert 0.9 < time.monotonic() - stopped < 1.8


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
