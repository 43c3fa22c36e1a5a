"""An adapter that is loaded on demand: who asks for it is heard, waits for it, and is answered by nobody else."""

import asyncio
from typing import Any

import pytest
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.versions import StoredVersion
from graft_serving.status import demand


@pytest.fixture
def impatient(pod: Pod) -> Pod:
    """A pod on which no request waits."""
    pod.settings = pod.settings.model_copy(update={"load_wait_seconds": 0})
    return pod


def want(pod: Pod, *versions: StoredVersion) -> None:
    """Give the adapter a place for these versions, or none."""
    entry = wanted_adapter("support", list(versions)) | {"onDemand": True}
    pod.want(wanted_set(pod.base, entry))


async def told(pod: Pod) -> tuple[str, str | None]:
    """Return the revision of the pod's state, and when it says that the adapter was last asked."""
    state = await pod.state()
    return state["revision"], state["adapters"][0]["lastAsked"]


async def test_a_request_waits_until_the_adapter_is_loaded(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        want(pod)
        await pod.until_ready()
        revision, last_asked = await told(pod)
        assert last_asked is None
        asking = asyncio.create_task(pod.ask("support"))

        async def is_told() -> bool:
            now, last_asked = await told(pod)
            return now != revision and last_asked is not None

        await eventually(is_told, what="news of the request")
        assert not asking.done()
        want(pod, v1)
        answer = await asking
    assert (answer.status, answer.text) == (200, pod.expected("support", 1))
    assert answer.headers["X-Graft-Version"] == "support@v1"


async def test_who_has_waited_in_vain_is_told_to_come_again(impatient: Pod) -> None:
    async with impatient.agent():
        want(impatient)
        await impatient.until_ready()
        answer = await impatient.ask("support")
    assert (answer.status, answer.body["error"]["code"]) == (503, "adapter_not_loaded")
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Graft-Version"] == "none"
    assert "loaded on demand" in answer.body["error"]["message"]


async def test_requests_that_follow_at_once_are_no_news_and_are_counted(
    impatient: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "PAUSE_SECONDS", 3600)
    async with impatient.agent():
        want(impatient)
        await impatient.until_ready()
        before, _ = await told(impatient)
        await impatient.ask("support")

        async def is_told() -> bool:
            return (await told(impatient))[0] != before

        await eventually(is_told, what="news of the first request")
        revision, _ = await told(impatient)
        for _ in range(5):
            await impatient.ask("support")
        assert (await told(impatient))[0] == revision
        async with impatient.client.get(f"{impatient.admin_url}/metrics") as response:
            assert 'graft_rejected_total{code="adapter_not_loaded"} 6.0' in await response.text()


async def test_names_that_nobody_knows_are_not_remembered(impatient: Pod) -> None:
    async with impatient.agent():
        want(impatient)
        await impatient.until_ready()
        revision, _ = await told(impatient)
        assert (await impatient.ask("supporter")).status == 404
        await asyncio.sleep(0.05)
        assert await told(impatient) == (revision, None)


async def test_it_is_listed_loaded_or_not(pod: Pod) -> None:
    async with pod.agent():
        want(pod)
        await pod.until_ready()
        async with pod.client.get(f"{pod.url}/v1/models") as response:
            models: list[dict[str, Any]] = (await response.json())["data"]
    assert [model["id"] for model in models] == ["tiny", "support"]


async def test_one_that_gives_way_finishes_what_it_has_begun(impatient: Pod) -> None:
    pod, v1 = impatient, impatient.publisher.publish("support")
    async with pod.agent():
        want(pod, v1)
        await pod.until_routed("support", 1)
        pod.engine.answers.close()
        asking = asyncio.create_task(pod.ask("support"))
        await pod.engine.answers.until_waiting()
        want(pod)
        await pod.until_routed("support")
        assert (await pod.ask("support")).body["error"]["code"] == "adapter_not_loaded"
        assert v1.engine_name in pod.engine.adapters
        pod.engine.answers.open()
        assert (await asking).text == pod.expected("support", 1)
        await pod.until_state("support", 1, None)
        assert (pod.engine.cut_off, list(pod.engine.adapters)) == ([], [])
        want(pod, v1)
        await pod.until_answered_by("support", "support@v1")


async def test_an_agent_that_begins_anew_takes_what_is_loaded_for_in_use(pod: Pod) -> None:
    async with pod.agent():
        want(pod, pod.publisher.publish("support"))
        await pod.until_routed("support", 1)
        assert (await told(pod))[1] is not None
