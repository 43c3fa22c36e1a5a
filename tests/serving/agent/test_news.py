"""`GET /state?since=…` is held open until the pod says something else than the revision that is named."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_serving.adapters import lifecycle
from graft_serving.versions import VersionState


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


async def die(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
    """Answer a client as an engine whose core is gone."""
    if body.get("prompt") != "hello":
        return None
    return web.json_response({"error": {"message": "EngineCore encountered an issue.", "code": 500}}, status=500)


async def test_that_an_engine_is_doubted_and_that_it_answers_again_is_news(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_routed("support", 1)
        await pod.until_ready()
        before = (await pod.state())["revision"]
        pod.engine.instead = die
        pod.engine.answers.close()
        await pod.ask("support")
        async with asyncio.timeout(40):  # news is held for 60 s
            doubted = await news(pod, before)
            assert (doubted["ready"], doubted["engine"]["state"]) == (False, "Ready")
            assert doubted["adapters"][0]["active"] == []
            pod.engine.instead = None
            pod.engine.answers.open()
            after = await news(pod, doubted["revision"])
            while not after["ready"]:
                after = await news(pod, after["revision"])
    assert after["engine"]["starts"] == 1
    assert after["adapters"][0]["active"] == [{"number": 1, "weight": 100}]
    assert after["adapters"][0]["versions"][0]["state"] == "Proven"


def of_support(state: dict[str, Any]) -> list[str]:
    """What has become of the adapter's versions."""
    versions = next(adapter["versions"] for adapter in state["adapters"] if adapter["name"] == "support")
    return [version["state"] for version in versions]


async def test_that_a_version_is_proven_is_news_although_other_news_came_before_the_router_knew_it(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.settings = pod.settings.model_copy(update={"load_wait_seconds": 0})
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    absent = wanted_adapter("sales", []) | {"onDemand": True}
    async with pod.agent() as agent:
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]), absent))
        await pod.until_routed("support", 1)
        await pod.until_ready()
        monkeypatch.setattr(lifecycle, "PAUSES_PER_PASS", 1e9)
        monkeypatch.setattr(lifecycle, "LONGEST_PAUSE_SECONDS", 3.0)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 100)]), absent))

        async def is_proven() -> bool:
            found = (record for key, record in agent.lifecycle.records.items() if key.number == 2)
            return any(record.state is VersionState.PROVEN for record in found)

        await eventually(is_proven)
        before = (await pod.state())["revision"]
        assert (await pod.ask("sales")).status == 503
        async with asyncio.timeout(40):  # news is held for 60 s
            told = await news(pod, before)
            early = of_support(told)
            while of_support(told) != ["Proven", "Proven"]:
                told = await news(pod, told["revision"])
    assert early == ["Proven", "Proving"]
