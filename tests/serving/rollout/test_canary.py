"""What a canary is judged by can't be forged: streams that fail, sessions that were chosen, errors of one client."""

import json
from typing import Any

from aiohttp import web
from tests.serving.conftest import Pod
from tests.serving.published import wanted_adapter, wanted_set


async def in_canary(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 50), (v2, 50)])))
    await pod.until_routed("support", 1, 2)


async def measured(pod: Pod, number: int) -> dict[str, Any]:
    return dict((await pod.version_state("support", number))["measured"])


async def stream(pod: Pod, **headers: str) -> bytes:
    body = {"model": "support", "prompt": "x", "stream": True}
    async with pod.client.post(f"{pod.url}/v1/completions", json=body, headers=headers) as answer:
        return await answer.read()


def streaming(new: list[bytes], old: list[bytes]) -> Any:
    """Answer with these events, by version."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if not body.get("stream"):
            return None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in new if "--v2-" in body["model"] else old:
            await response.write(event)
        return response

    return answer


GOOD = [b'data: {"choices":[{"text":"fine"}]}\n\n', b"data: [DONE]\n\n"]


async def test_a_stream_that_ends_with_an_error_is_a_failure_of_its_version(pod: Pod) -> None:
    error = {"error": {"message": "boom", "type": "InternalServerError", "code": 500}}
    failing = [f"data: {json.dumps(error)}\n\n".encode(), b"data: [DONE]\n\n"]
    async with pod.agent():
        await in_canary(pod)
        pod.engine.instead = streaming(failing, GOOD)
        streams = [await stream(pod) for _ in range(40)]
        new, old = await measured(pod, 2), await measured(pod, 1)
    assert any(b"boom" in answer for answer in streams), "the client sees what the engine said"
    assert new["requests"] > 5
    assert (new["errors"], new["latency"]) == (new["requests"], {})
    assert old["errors"] == 0


async def test_a_stream_without_an_end_is_a_failure_of_its_version(pod: Pod) -> None:
    async with pod.agent():
        await in_canary(pod)
        pod.engine.instead = streaming(GOOD[:1], GOOD)
        for _ in range(40):
            await stream(pod)
        new, old = await measured(pod, 2), await measured(pod, 1)
    assert new["errors"] == new["requests"] > 5
    assert old["errors"] == 0


async def test_a_client_that_finds_sessions_of_the_new_version_is_measured_once_for_each(pod: Pod) -> None:
    async with pod.agent():
        await in_canary(pod)
        chosen = []
        for number in range(40):
            answer = await pod.ask("support", headers={"X-Graft-Session": f"user-{number}"})
            if answer.headers["X-Graft-Version"] == "support@v2":
                chosen.append(f"user-{number}")
        before = await measured(pod, 2)
        for session in chosen * 5:
            await pod.ask("support", headers={"X-Graft-Session": session})
        after = await measured(pod, 2)
    assert len(chosen) > 5
    assert before["requests"] == len(chosen)
    assert after == before


async def test_which_sessions_get_which_version_can_not_be_calculated_from_what_clients_see(pod: Pod) -> None:
    async with pod.agent() as agent:
        await in_canary(pod)
        salts = agent.router._pod.table.aliases["support"].salts
        async with pod.client.get(f"{pod.url}/v1/models") as answer:
            seen = await answer.text()
        state = json.dumps(await pod.state())
    assert len(set(salts.values())) == 2
    assert not any(salt in seen or salt in state for salt in salts.values())


async def test_errors_that_one_client_provokes_are_not_taken_for_the_version_s(pod: Pod, tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\nsecond\nthird\n")
    pod.settings = pod.settings.model_copy(update={"api_key_file": keys})

    async def fail(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if body.get("prompt") != "provoke":
            return None
        return web.json_response({"error": {"message": "grammar", "code": 500}}, status=500)

    pod.engine.instead = fail
    async with pod.agent():
        await in_canary(pod)
        for number in range(60):
            key = ("first", "second")[number % 2]
            await pod.ask("support", headers={"Authorization": f"Bearer {key}"})
        for _ in range(20):
            await pod.ask("support", "provoke", headers={"Authorization": "Bearer third"})
        errors = [(await measured(pod, number))["errors"] for number in (1, 2)]
        counted = [(await pod.version_state("support", number))["errors"] for number in (1, 2)]
    assert errors == [1, 1]
    assert sum(counted) == 20, "the plain counts hide nothing"
