"""The clients that people use, unchanged, against the pod: every route, under the alias, streamed and whole."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, AuthenticationError, NotFoundError
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

KEY = "sk-graft"


@pytest.fixture
async def serving(pod: Pod, tmp_path: Any) -> AsyncIterator[Pod]:
    """A pod that serves "support" to whoever knows the key."""
    (tmp_path / "keys").write_text(KEY)
    pod.settings = pod.settings.model_copy(
        update={"api_key_file": tmp_path / "keys", "cors_origins": ("https://chat.example.com",)}
    )
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_ready()
        yield pod


@pytest.fixture
async def openai(serving: Pod) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{serving.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic(serving: Pod) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=serving.url, api_key=KEY, max_retries=0) as client:
        yield client


QUESTION: Any = [{"role": "user", "content": "hello"}]


async def test_models_are_listed_and_retrieved(openai: AsyncOpenAI) -> None:
    listed = [model.id async for model in openai.models.list()]
    model = await openai.models.retrieve("support")
    base = await openai.models.retrieve("tiny")
    with pytest.raises(NotFoundError, match="suport"):
        await openai.models.retrieve("suport")
    assert listed == ["tiny", "support"]
    assert (model.id, base.id) == ("support", "tiny")
    assert model.model_dump()["root"] == "support@v1"


async def test_chats_and_completions(openai: AsyncOpenAI) -> None:
    chat = await openai.chat.completions.create(model="support", messages=QUESTION, max_tokens=3)
    text = await openai.completions.create(model="support", prompt=[1, 2, 3], max_tokens=3)
    assert (chat.model, text.model) == ("support", "support")
    assert chat.choices[0].message.content
    chunks = [
        chunk
        async for chunk in await openai.chat.completions.create(
            model="support", messages=QUESTION, max_tokens=3, stream=True
        )
    ]
    assert {chunk.model for chunk in chunks} == {"support"}
    assert len(chunks) == 3


async def test_responses(openai: AsyncOpenAI, serving: Pod) -> None:
    response = await openai.responses.create(model="support", input="hello", store=False)
    assert response.model == "support"
    assert response.output_text
    events = [event async for event in await openai.responses.create(model="support", input="hello", stream=True)]
    assert [event.type for event in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]
    assert events[0].response.model == events[-1].response.model == "support"  # type: ignore[union-attr]
    version = await serving.version_state("support", 1)
    assert (version["requests"], version["errors"]) == (2, 0)


async def test_embeddings(openai: AsyncOpenAI) -> None:
    answer = await openai.embeddings.create(model="support", input="hello", encoding_format="float")
    assert (answer.model, answer.data[0].embedding) == ("support", [0.5, 0.25])


async def test_messages_of_anthropic(anthropic: AsyncAnthropic, serving: Pod) -> None:
    message = await anthropic.messages.create(model="support", max_tokens=5, messages=QUESTION)
    assert (message.model, message.usage.output_tokens) == ("support", 5)
    async with anthropic.messages.stream(model="support", max_tokens=5, messages=QUESTION) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    counted = await anthropic.messages.count_tokens(model="support", messages=QUESTION)
    assert text
    assert (final.model, final.usage.output_tokens) == ("support", 5)
    assert counted.input_tokens == 7
    version = await serving.version_state("support", 1)
    assert (version["requests"], version["errors"]) == (3, 0)


async def test_an_unknown_model_is_an_error_that_the_clients_understand(
    openai: AsyncOpenAI, anthropic: AsyncAnthropic
) -> None:
    with pytest.raises(NotFoundError, match="support"):
        await openai.chat.completions.create(model="suport", messages=QUESTION)
    with pytest.raises(Exception, match="suport") as failed:
        await anthropic.messages.create(model="suport", max_tokens=5, messages=QUESTION)
    assert type(failed.value).__name__ == "NotFoundError"


async def test_a_wrong_key_is_an_error_that_the_clients_understand(serving: Pod) -> None:
    async with AsyncOpenAI(base_url=f"{serving.url}/v1", api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(AuthenticationError):
            await client.models.retrieve("support")


@pytest.mark.parametrize("path", ["/v1/score", "/v1/rerank", "/score", "/rerank", "/tokenize", "/detokenize"])
async def test_the_engine_s_own_routes(serving: Pod, path: str) -> None:
    body = {"model": "support", "text_1": "a", "text_2": "b", "prompt": "hello", "unheard_of": {"kept": [1.10]}}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with serving.client.post(serving.url + path, json=body, headers=headers) as answer:
        document = await answer.json()
    assert answer.status == 200
    assert document.get("model", "support") == "support"
    assert answer.headers["X-Graft-Version"] == "support@v1"
    assert serving.engine.last_body["model"].startswith("support--v1-")
    assert serving.engine.last_body["unheard_of"] == {"kept": [1.1]}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/health"])
async def test_load_balancers_need_no_key(serving: Pod, method: str, path: str) -> None:
    async with serving.client.request(method, serving.url + path) as answer:
        assert answer.status == 200


async def test_health_is_that_of_the_pod(serving: Pod) -> None:
    await serving.engine.crash()

    async def statuses() -> list[int]:
        found = []
        for path in ("/", "/health"):
            async with serving.client.get(serving.url + path) as answer:
                found.append(answer.status)
        return found

    async def is_unready() -> bool:
        return not await serving.is_ready()

    await eventually(is_unready)
    assert await statuses() == [200, 503]


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


async def options(pod: Pod, origin: str) -> aiohttp.ClientResponse:
    url = f"{pod.url}/v1/chat/completions"
    async with pod.client.options(url, headers={"Origin": origin, **PREFLIGHT}) as answer:
        return answer


async def test_pages_of_an_allowed_origin_may_ask_and_others_may_not(serving: Pod) -> None:
    allowed = await options(serving, "https://chat.example.com")
    refused = await options(serving, "https://evil.example.com")
    body = {"model": "support", "prompt": "hello", "max_tokens": 2, "stream": True}
    headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://chat.example.com"}
    async with serving.client.post(f"{serving.url}/v1/completions", json=body, headers=headers) as answer:
        await answer.read()
    assert (allowed.status, refused.status) == (204, 401)
    assert allowed.headers["Access-Control-Allow-Headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    for marked in (allowed, answer):
        assert marked.headers["Access-Control-Allow-Origin"] == "https://chat.example.com"
    assert "Access-Control-Allow-Origin" not in refused.headers


async def test_without_a_setting_no_page_may_ask(pod: Pod) -> None:
    async with pod.agent():
        answer = await options(pod, "https://chat.example.com")
    assert answer.status == 404
    assert "Access-Control-Allow-Origin" not in answer.headers
