"""A request may name a version of an adapter: that one answers or nobody does, and no rollout is judged by it."""

from typing import Any

import pytest
from aiohttp import web
from tests.serving.conftest import Pod
from tests.serving.published import wanted_adapter, wanted_set

from graft_serving.adapters import lifecycle


async def in_canary(pod: Pod) -> None:
    """Let two versions answer half of the requests each."""
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 50), (v2, 50)])))
    await pod.until_routed("support", 1, 2)


async def models(pod: Pod, path: str) -> Any:
    """What a client reads of the models."""
    async with pod.client.get(f"{pod.url}/v1/models{path}") as answer:
        return await answer.json()


async def test_each_version_answers_under_its_own_name_and_under_no_other(pod: Pod) -> None:
    async with pod.agent():
        await in_canary(pod)
        for number in (1, 2) * 5:
            answer = await pod.ask(f"support@v{number}", headers={"X-Graft-Session": "one"})
            assert answer.headers["X-Graft-Version"] == answer.body["model"] == f"support@v{number}"
            assert answer.text == pod.expected("support", number)
        missing = await pod.ask("support@v3")
    assert (missing.status, missing.headers["X-Graft-Version"]) == (404, "none")
    assert "Loaded versions: support@v1, support@v2." in missing.body["error"]["message"]


async def test_a_version_that_is_on_its_way_is_no_unknown_one(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_routed("support", 1)
        door = pod.engine.load_doors["support"]
        door.close()
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 100)])))
        await door.until_waiting()
        early = await pod.ask("support@v2")
        door.open()
        await pod.until_state("support", 2, "Proven")
        answer = await pod.ask("support@v2")
    assert (early.status, early.headers["X-Graft-Version"], early.headers["Retry-After"]) == (503, "none", "2")
    assert answer.text == pod.expected("support", 2)


async def test_who_reads_that_a_version_is_proven_may_ask_for_it_at_once(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each pass is followed by the longest pause, as with a thousand versions on a busy machine.
    monkeypatch.setattr(lifecycle, "PAUSES_PER_PASS", 1e9)
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 100)])))
        await pod.until_state("support", 2, "Proven")
        answer = await pod.ask("support@v2")
    assert answer.status == 200, answer.body


async def test_a_version_that_answers_has_an_entry_of_its_own_and_is_in_no_list(pod: Pod) -> None:
    async with pod.agent():
        await in_canary(pod)
        listed = [card["id"] for card in (await models(pod, ""))["data"]]
        card = await models(pod, "/support@v2")
        missing = await models(pod, "/support@v3")
    assert listed == [pod.base.name, "support"]
    assert (card["root"], [share["number"] for share in card["graft"]["route"]]) == ("support@v2", [2])
    assert missing["error"]["code"] == "model_not_found"


async def test_a_version_that_is_kept_for_a_rollback_answers_too_until_it_is_unloaded(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_state("support", 1, "Proven")
        await pod.until_routed("support", 2)
        assert (await pod.ask("support@v1")).text == pod.expected("support", 1)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v2])))
        await pod.until_state("support", 1, None)
        gone = await pod.ask("support@v1")
    assert gone.status == 404


async def test_a_version_that_was_proven_on_an_engine_that_is_gone_does_not_answer(pod: Pod) -> None:
    async with pod.agent():
        await in_canary(pod)
        await pod.engine.crash()
        answer = await pod.ask("support@v1")
    assert answer.status == 503


async def test_nothing_of_it_is_measured_though_it_counts(pod: Pod) -> None:
    async def fail(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        return web.json_response({"error": {"message": "boom", "code": 500}}, status=500)

    async with pod.agent():
        await in_canary(pod)
        pod.engine.instead = fail
        for _ in range(10):
            assert (await pod.ask("support@v2")).status == 500
        state = await pod.version_state("support", 2)
    assert (state["requests"], state["errors"]) == (10, 10)
    assert (state["measured"]["requests"], state["measured"]["errors"]) == (0, 0)


async def test_to_ask_for_a_version_is_to_ask_for_its_adapter(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", []) | {"onDemand": True}))
        await pod.until_ready()
        v1 = pod.publisher.publish("support")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]) | {"onDemand": True}))
        assert (await pod.ask("support@v1")).text == pod.expected("support", 1)
        (adapter,) = (await pod.state())["adapters"]
    assert adapter["lastAsked"] is not None
