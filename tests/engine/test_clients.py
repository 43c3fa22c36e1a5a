"""The clients that people use, unchanged, through an agent to the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic import BadRequestError as AnthropicBadRequestError
from anthropic import NotFoundError as AnthropicNotFoundError
from openai import BadRequestError, NotFoundError, OpenAI
from tests.engine.cases import PROMPT, TOOL
from tests.engine.served import Served

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

QUESTION: Any = [{"role": "user", "content": PROMPT}]
TOOLS: Any = [TOOL]


@pytest.fixture
def openai(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(served: Served) -> Iterator[Anthropic]:
    with Anthropic(base_url=served.url, api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed_and_retrieved(openai: OpenAI, served: Served) -> None:
    assert {served.base, served.model} == {model.id for model in openai.models.list()}
    assert openai.models.retrieve(served.model).id == served.model
    with pytest.raises(NotFoundError, match="suport"):
        openai.models.retrieve("suport")


def test_chats(openai: OpenAI, served: Served) -> None:
    chat = openai.chat.completions.create(model=served.model, messages=QUESTION, max_tokens=5, temperature=0)
    stream = openai.chat.completions.create(
        model=served.model, messages=QUESTION, max_tokens=5, temperature=0, stream=True
    )
    chunks = list(stream)
    assert chat.model == served.model
    assert {chunk.model for chunk in chunks} == {served.model}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == chat.choices[0].message.content


def test_completions(openai: OpenAI, served: Served) -> None:
    text = openai.completions.create(model=served.model, prompt=[1, 2, 3], max_tokens=5, temperature=0, logprobs=2)
    assert text.model == served.model
    assert text.choices[0].logprobs is not None
    parts = openai.completions.create(model=served.model, prompt=[1, 2, 3], max_tokens=5, temperature=0, stream=True)
    assert "".join(part.choices[0].text for part in parts) == text.choices[0].text


def test_responses(openai: OpenAI, served: Served) -> None:
    response = openai.responses.create(model=served.model, input=PROMPT, max_output_tokens=5, store=False)
    assert response.model == served.model
    events = list(openai.responses.create(model=served.model, input=PROMPT, max_output_tokens=5, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert events[-1].response.model == served.model


def test_messages_of_anthropic(anthropic: Anthropic, served: Served) -> None:
    message = anthropic.messages.create(model=served.model, max_tokens=5, messages=QUESTION)
    assert message.model == served.model
    assert message.usage.output_tokens > 0
    with anthropic.messages.stream(model=served.model, max_tokens=5, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.model == served.model
    assert text == "".join(block.text for block in final.content if block.type == "text")
    assert anthropic.messages.count_tokens(model=served.model, messages=QUESTION).input_tokens > 0


def test_what_is_refused_is_an_error_that_the_clients_understand(
    openai: OpenAI, anthropic: Anthropic, served: Served
) -> None:
    with pytest.raises(BadRequestError, match="max_tokens"):
        openai.completions.create(model=served.model, prompt="hello", max_tokens=10_000_000)
    with pytest.raises(AnthropicBadRequestError, match="temperature"):
        anthropic.messages.create(model=served.model, max_tokens=5, messages=QUESTION, extra_body={"temperature": -1})
    with pytest.raises(NotFoundError):
        openai.chat.completions.create(model="suport", messages=QUESTION)
    with pytest.raises(AnthropicNotFoundError):
        anthropic.messages.create(model="suport", max_tokens=5, messages=QUESTION)


def test_routes_that_a_causal_model_lacks_are_errors_of_the_client_s(openai: OpenAI, served: Served) -> None:
    if not served.engine.is_own:
        pytest.skip("another engine may have them")
    with pytest.raises(NotFoundError):
        openai.embeddings.create(model=served.model, input="hello")
    with pytest.raises(BadRequestError, match="tool"):
        openai.chat.completions.create(model=served.model, messages=QUESTION, tools=TOOLS)
