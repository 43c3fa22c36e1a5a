"""What clients can reach, what they get back, and where their requests go."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set
from yarl import URL

from graft_serving.proxy import dispatch
from graft_serving.telemetry import pacing


class OtherService:
    """The Service of another revision: remembers what it was asked, and answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections: set[object] = set()
        self.unable = 0
        """How many of the next requests reach a pod of it that has lost its engine."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["OtherService"]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        yield self
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append((request.path, dict(request.headers), body))
        self.connections.add(request.transport)
        if len(self.requests) <= self.unable:
            error = {"error": {"message": "not loaded on this replica yet", "code": "model_unavailable"}}
            return web.json_response(error, status=503, headers={"X-Graft-Version": "none"})
        headers = {"X-Graft-Version": f"{body['model']}@v9", "X-Graft-Base": "0123456789ab"}
        return web.json_response({"model": body["model"], "choices": [{"text": "from elsewhere"}]}, headers=headers)


async def serving(pod: Pod, *names: str) -> None:
    """Have the pod serve version 1 of each name."""
    pod.want(wanted_set(pod.base, *(wanted_adapter(name, [pod.publisher.publish(name)]) for name in names)))
    await pod.until_ready()


@contextlib.asynccontextmanager
async def beside_a_dead_engine(pod: Pod, *, unable: int = 0) -> AsyncIterator[OtherService]:
    """Run the pod, which has served "support" until its engine died, behind the Service of its base."""
    async with OtherService().running() as peer:
        peer.unable = unable
        pod.settings = pod.settings.model_copy(update={"peer_service_url": peer.url})
        async with pod.agent():
            await serving(pod, "support")
            await pod.engine.crash()
            yield peer


async def test_an_unknown_model_is_not_found_and_the_error_names_the_known_ones(pod: Pod) -> None:
    async with pod.agent():
        await serving(pod, "support")
        answer = await pod.ask("suport")
        by_engine_name = await pod.ask(next(iter(pod.engine.adapters)))
    assert answer.status == 404
    assert answer.headers["X-Graft-Version"] == "none"
    assert answer.body["error"]["code"] == "model_not_found"
    assert "support" in answer.body["error"]["message"]
    assert by_engine_name.status == 404


async def test_the_base_answers_only_under_its_own_name(pod: Pod) -> None:
    async with pod.agent():
        await serving(pod)
        answer = await pod.ask("tiny")
    assert answer.status == 200
    assert answer.headers["X-Graft-Version"] == "tiny@base"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/v1/%6coad_lora_adapter"),
        ("POST", "/v1/completions/../load_lora_adapter"),
        ("POST", "/v1/completions/%2e%2e/load_lora_adapter"),
        ("POST", "/v1/completions%2f..%2fload_lora_adapter"),
        ("POST", "//v1/load_lora_adapter"),
        ("POST", "/adapters"),
        ("DELETE", "/adapters/support"),
        ("POST", "/invocations"),
        ("POST", "/metrics"),
        ("GET", "/metrics/"),
        ("GET", "/v1/%0Acompletions"),
        ("GET", "/state"),
        ("POST", "/v1/completions/"),
        ("GET", "/v1/completions"),
    ],
)
async def test_no_other_path_reaches_the_engine(pod: Pod, method: str, path: str) -> None:
    async with pod.agent():
        await serving(pod)
        body = {"lora_name": "evil", "lora_path": "/base", "model": "tiny", "prompt": "x"}
        url = URL(pod.url + path, encoded=True)
        async with pod.client.request(method, url, json=body) as response:
            answer = await response.json()
    assert response.status == 404
    assert answer["error"]["code"] == "path_not_served"
    assert pod.engine.loads == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"model": "tiny", "model": "support--v1-00000000"}', 404, "model_not_found"),
        (b'{"prompt": "x"}', 400, "model_missing"),
        (b'{"model": 7}', 400, "model_missing"),
        (b'{"model": "tiny", "prompt": "' + b"x" * 20_000 + b'"}', 413, "request_too_large"),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(pod: Pod, body: bytes, status: int, code: str) -> None:
    pod.settings = pod.settings.model_copy(update={"max_body_bytes": 10_000 if status == 413 else 200_000})
    async with pod.agent():
        await serving(pod)
        async with pod.client.post(f"{pod.url}/v1/completions", data=body) as response:
            answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (status, code)


async def test_a_long_list_of_models_lets_others_have_their_turns(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "SLICE_SECONDS", 0.0)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    names = [f"adapter-{number}" for number in range(500)]
    async with pod.agent():
        pod.want(wanted_set(pod.base, *(wanted_adapter(name, []) | {"onDemand": True} for name in names)))
        await pod.until_ready()
        others = asyncio.create_task(take_turns())
        async with pod.client.get(f"{pod.url}/v1/models") as response:
            listed = await response.json()
        others.cancel()
    assert [card["id"] for card in listed["data"]] == ["tiny", *sorted(names)]
    assert listed["object"] == "list"
    assert turns >= len(names)


async def test_the_model_list_names_aliases_with_their_versions_and_the_base(pod: Pod) -> None:
    async with pod.agent():
        await serving(pod, "support")
        async with pod.client.get(f"{pod.url}/v1/models") as response:
            cards = {card["id"]: card for card in (await response.json())["data"]}
    base = {"name": "tiny", "digest": pod.base.digest}
    route = cards["support"]["graft"]["route"]
    assert cards.keys() == {"tiny", "support"}
    assert (cards["tiny"]["root"], cards["tiny"]["parent"]) == ("tiny@base", None)
    assert (cards["support"]["root"], cards["support"]["parent"]) == ("support@v1", "tiny")
    assert cards["tiny"]["graft"] == {"base": base, "route": []}
    assert cards["support"]["graft"]["base"] == base
    assert [(share["version"], share["number"], share["weight"]) for share in route] == [("support@v1", 1, 100)]


async def test_a_stream_arrives_as_it_is_generated_and_under_the_name_that_was_asked_for(pod: Pod) -> None:
    pod.engine.streams.close()
    async with pod.agent():
        await serving(pod, "support")
        body = {"model": "support", "messages": [], "max_tokens": 5, "stream": True}
        events = []
        async with pod.client.post(f"{pod.url}/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    events.append(json.loads(line.removeprefix(b"data: ")))
                    await pod.engine.streams.until_waiting()
                    pod.engine.streams.let_through()
    assert response.headers["X-Graft-Version"] == "support@v1"
    assert len(events) == 5
    assert {event["model"] for event in events} == {"support"}
    assert pod.engine.streams.comers == 5


async def test_a_client_that_goes_away_ends_its_generation(pod: Pod) -> None:
    pod.engine.streams.close()
    async with pod.agent():
        await serving(pod, "support")
        body = {"model": "support", "prompt": "x", "max_tokens": 1000, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            await response.content.readline()
        response.close()

        async def engine_noticed() -> bool:
            return pod.engine.disconnected == 1

        async def is_over() -> bool:
            return bool((await pod.version_state("support", 1))["inflight"] == 0)

        await eventually(engine_noticed)
        await eventually(is_over)


async def test_a_stream_that_breaks_is_cut_and_counted_as_an_error(pod: Pod) -> None:
    pod.engine.streams.close()
    async with pod.agent():
        await serving(pod, "support")
        body = {"model": "support", "prompt": "x", "max_tokens": 1000, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            await response.content.readline()
            await pod.engine.crash()
            with pytest.raises(aiohttp.ClientError):
                await response.content.read()

        async def is_counted() -> bool:
            return bool((await pod.version_state("support", 1))["errors"] == 1)

        await eventually(is_counted)


async def test_an_alias_without_a_local_route_is_answered_by_the_other_revision(pod: Pod) -> None:
    async with OtherService().running() as other, pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [], forward_to=other.url)))
        await pod.until_ready()
        answer = await pod.ask("support")
        forwarded_here = await pod.ask("support", headers={"X-Graft-Forwarded": "1"})
    assert answer.text == "from elsewhere"
    assert answer.headers["X-Graft-Version"] == "support@v9"
    assert answer.headers["X-Graft-Base"] == "0123456789ab"
    assert forwarded_here.status == 503
    path, headers, body = other.requests[0]
    assert len(other.requests) == 1
    assert path == "/v1/completions"
    assert headers["X-Graft-Forwarded"] == "1"
    assert body["model"] == "support"


async def test_an_alias_with_a_local_route_is_not_forwarded(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with OtherService().running() as other, pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1], forward_to=other.url)))
        await pod.until_answered_by("support", "support@v1")
        other.requests.clear()
        assert (await pod.ask("support")).text == pod.expected("support", 1)
    assert other.requests == []


async def test_requests_that_meet_a_dead_engine_are_answered_by_a_peer(pod: Pod) -> None:
    async with beside_a_dead_engine(pod):
        answers = [await pod.ask("support") for _ in range(3)]
    assert [answer.text for answer in answers] == ["from elsewhere"] * 3


async def test_a_request_that_a_service_sends_back_to_the_dead_engine_is_sent_again(pod: Pod) -> None:
    async with beside_a_dead_engine(pod, unable=3) as peer:
        assert (await pod.ask("support")).text == "from elsewhere"
    assert len(peer.requests) == len(peer.connections) == 4, "a Service chooses another pod for another connection only"


async def test_a_request_that_no_pod_of_a_service_is_able_to_answer_is_told_so(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SEARCH_SECONDS", 0.2)
    async with beside_a_dead_engine(pod, unable=1000) as peer:
        answer = await pod.ask("support")
    assert answer.status == 503
    assert f"{peer.url}: declined status 503" in answer.body["error"]["message"]


async def test_a_request_waits_for_a_service_whose_pods_can_not_be_reached_yet(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SEARCH_SECONDS", 120)
    other = OtherService()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [], forward_to=other.url)))
        await pod.until_ready()
        asked = asyncio.create_task(pod.ask("support"))
        await asyncio.sleep(0.5)  # it is tried again meanwhile
        assert not asked.done()
        async with other.running():
            assert (await asked).text == "from elsewhere"
    assert len(other.requests) == 1


async def test_a_request_fails_with_a_hint_when_the_other_service_is_away_too(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SEARCH_SECONDS", 0.3)
    async with pod.agent():
        nobody = f"http://127.0.0.1:{free_port()}"
        pod.want(wanted_set(pod.base, wanted_adapter("support", [], forward_to=nobody)))
        await pod.until_ready()
        answer = await pod.ask("support")
    assert answer.status == 503
    assert nobody in answer.body["error"]["message"]
