"""`GET /state?since=…` is held open until the pod says something else than the revision that is named."""

import asyncio
from typing import Any

import pytest
from tests.serving.conftest import Pod
from tests.serving.published import wanted_adapter, wanted_set


async def news(pod: Pod, since: str, seconds: object = 60) -> dict[str, Any]:
    query = {"since": since, "waitSeconds": str(seconds)}
    async with pod.client.get(f"{pod.admin_url}/state", params=query) as response:
        return dict(await response.json())


async def test_a_swap_is_news_once_it_is_proven_and_requests_are_not(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_routed("support", 1)
        await pod.until_ready()
        before = (await pod.state())["revision"]
        waiting = asyncio.create_task(news(pod, before))
        await pod.ask("support")
        await asyncio.sleep(0.1)
        assert not waiting.done(), "a request that was answered is no news"
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        revisions = [before]
        while (state := await waiting)["adapters"][0]["active"] != [{"number": 2, "weight": 100}]:
            revisions.append(state["revision"])
            waiting = asyncio.create_task(news(pod, state["revision"]))
        assert state["revision"] not in revisions
        assert len(revisions) <= 3, "that the set has arrived, and at most that the version is proven, come before"


async def test_without_news_the_answer_comes_when_the_time_is_up(pod: Pod) -> None:
    async with pod.agent():
        revision = (await pod.state())["revision"]
        assert (await news(pod, "of-another-life"))["revision"] == revision
        assert (await news(pod, revision, 0))["revision"] == revision


@pytest.mark.parametrize("seconds", ["-1", "1.5", "61", "soon"])
async def test_a_wait_that_is_no_number_is_refused(pod: Pod, seconds: str) -> None:
    async with pod.agent():
        query = {"since": "x", "waitSeconds": seconds}
        async with pod.client.get(f"{pod.admin_url}/state", params=query) as response:
            assert response.status == 400
            assert "waitSeconds" in await response.text()


async def test_the_decision_that_is_carried_out_is_told_as_it_stands_in_the_set(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    decision = {"target": 1, "previous": None, "weight": 100}
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]) | {"decision": decision}))
        await pod.until_routed("support", 1)
        state = await pod.state()
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]) | {"decision": decision | {"weight": 50}}))
        later = await news(pod, state["revision"])
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        last = await news(pod, later["revision"])
    told = [document["adapters"][0]["decision"] for document in (state, later, last)]
    assert told == [decision, decision | {"weight": 50}, None]
