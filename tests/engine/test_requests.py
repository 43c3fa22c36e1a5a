"""Every route and parameter, through an agent to the real engine: answered, or refused by it, and it lives on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from tests.engine.cases import CASES, CHAT, COMPLETIONS, PROMPT, QUESTION, Case
from tests.engine.served import Served
from tests.serving.telemetry.test_engine_signals import PickerView

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

HTTP = urllib3.PoolManager(timeout=120, retries=False)


def ask(served: Served, path: str, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
    return HTTP.request("POST", served.url + path, json={"model": served.model, **body})


@pytest.fixture(autouse=True)
def the_engine_lives_on(served: Served) -> Iterator[None]:
    """No legal request ends an engine: its base and the adapter answer after each of them."""
    yield
    for model in {served.model, served.base}:
        after = HTTP.request("POST", served.url + COMPLETIONS, json={"model": model, "prompt": [1, 2], "max_tokens": 1})
        assert after.status == 200, after.data


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_answered_or_refused(served: Served, case: Case) -> None:
    answer = ask(served, case.path, dict(case.body))
    assert answer.status == 200 or 400 <= answer.status < 500, answer.data
    if answer.status != (case.refused or 200) and not served.engine.is_own:
        pytest.xfail(f"this engine says {answer.status}, the reference {case.refused or 200}: {answer.data[:200]!r}")
    assert answer.status == (case.refused or 200), answer.data
    assert answer.headers["X-Graft-Version"] == served.version
    if case.refused:
        assert case.says in answer.data.decode()
        return
    document = answer.json()
    assert document.get("model", served.model) == served.model
    assert case.holds(document), document


def test_the_same_seed_gives_the_same_answer(served: Served) -> None:
    body = {"prompt": PROMPT, "max_tokens": 12, "temperature": 1.5, "seed": 1234}
    texts = {ask(served, COMPLETIONS, body).json()["choices"][0]["text"] for _ in range(3)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("path", "body"), [(COMPLETIONS, {"prompt": PROMPT}), (CHAT, {"messages": QUESTION})], ids=["completion", "chat"]
)
def test_a_stream_tells_its_usage_when_it_is_asked_to(served: Served, path: str, body: dict[str, Any]) -> None:
    body |= {"max_tokens": 5, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    answer = ask(served, path, body)
    events = [line.removeprefix("data: ") for line in answer.data.decode().splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["model"] for chunk in chunks} == {served.model}
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert not chunks[-1]["choices"]


def test_a_client_that_goes_away_ends_its_generation(served: Served) -> None:
    body = {"model": served.model, "prompt": PROMPT, "max_tokens": 400, "ignore_eos": True, "stream": True}
    answer = HTTP.request("POST", served.url + COMPLETIONS, json=body, preload_content=False)
    next(answer.stream(64))
    wait_until_it_runs(served, 1)
    answer.close()
    wait_until_it_runs(served, 0)


def test_pickers_read_the_real_engine_s_series(served: Served) -> None:
    wait_until_it_runs(served, 0)
    answer = HTTP.request("GET", f"{served.url}/metrics")
    assert answer.status == 200, answer.data
    seen = PickerView.of(answer.data.decode())
    assert (seen.waiting, seen.running) == (0, 0)
    assert 0 <= seen.cache_usage <= 1
    assert seen.block_size > 0
    assert seen.blocks > 0
    if served.model != served.base:
        assert seen.most_active >= 1
    assert "--v" not in answer.data.decode()


def wait_until_it_runs(served: Served, count: int) -> None:
    """Wait until a picker sees so many requests. An engine on one core tells it late."""
    deadline = time.monotonic() + 20
    while True:
        answer = HTTP.request("GET", f"{served.url}/metrics")
        assert answer.status in (200, 503), answer.data
        if answer.status == 200 and PickerView.of(answer.data.decode()).running == count:
            return
        assert time.monotonic() < deadline, f"the engine does not run {count} requests: {answer.data!r}"
        time.sleep(0.1)
