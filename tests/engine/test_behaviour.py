"""What the agent relies on: each line is a fact of the engine that Graft's serving side was built upon.

A failure after an upgrade of the engine is a decision to make, not a test to mend: the docstrings say what depends
on it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.engine.engine import Engine

from graft_serving.engine.client import GREEDY

KEY = "only-for-the-engine"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SERVED = ("plain", "stabilized", "patterned", "odd-rank")
REFUSED = ("too-high", "decomposed", "principal", "with-head", "scaling")
SILENTLY_ACCEPTED = ("narrow", "deep")


@pytest.fixture(autouse=True)
def nothing_loaded(engine: Engine) -> None:
    engine.unload_all()


@pytest.mark.parametrize("adapter", SERVED)
def test_what_graft_publishes_is_served_and_changes_the_answer(engine: Engine, adapter: str) -> None:
    """The servable methods in the trainer's table; ranks between the engine's steps are rounded up by the operator."""
    assert engine.load(adapter, adapter).status == 200
    assert engine.text(adapter) != engine.text(engine.model)


@pytest.mark.parametrize("adapter", REFUSED)
def test_what_cannot_be_served_is_refused_for_good(engine: Engine, adapter: str) -> None:
    """The agent takes a 500 of a load as final, and the operator refuses these methods before any training."""
    answer = engine.load(adapter, adapter)
    assert answer.status == 500, answer.data
    assert adapter not in engine.models()
    assert engine.complete(engine.model).status == 200


@pytest.mark.parametrize("adapter", SILENTLY_ACCEPTED)
def test_an_adapter_of_another_shape_is_accepted_without_a_word(engine: Engine, adapter: str) -> None:
    """Why the agent checks shapes by itself. Should this become an error, the check may be relaxed."""
    assert engine.load(adapter, adapter).status == 200


def test_a_name_is_loaded_once(engine: Engine) -> None:
    """The agent takes 400 for a name that it finds listed with the right path as success."""
    engine.load("one", "plain")
    assert engine.load("one", "sibling").status == 400
    assert engine.load(engine.model, "plain").status == 400


def test_what_is_not_there_is_404(engine: Engine) -> None:
    """Unknown models must never be answered by the base."""
    assert engine.load("one", "nowhere").status == 404
    assert engine.unload("one").status == 404
    assert engine.complete("one").status == 404


def test_the_list_tells_path_and_base(engine: Engine) -> None:
    """The agent finds after its own restart what is loaded, by name and path."""
    engine.load("one", "plain")
    entry = engine.models()["one"]
    assert engine.adapters is not None
    assert (entry["root"], entry["parent"]) == (f"{engine.adapters.seen_at}/plain", engine.model)


def test_a_request_under_way_outlives_the_unloading_of_its_name(engine: Engine) -> None:
    """Draining may end late: a request that the router let through is still answered in full."""
    engine.load("one", "plain")
    answer = engine.begin("one", tokens=100)
    parts = answer.stream(64)
    begun = next(parts)  # the engine has it by now, so the unload can't come before
    assert engine.unload("one").status == 200
    text = (begun + b"".join(parts)).decode()
    assert answer.status == 200
    assert text.rstrip().endswith("data: [DONE]")
    assert text.count("data: {") > 8


def test_two_adapters_answer_as_each_does_alone(engine: Engine) -> None:
    """More adapters than places in a batch and in memory: answers stay right, whichever was evicted in between."""
    names = ("plain", "sibling", "stabilized")
    alone = {}
    for name in names:
        engine.load(name, name)
        alone[name] = engine.text(name)
    assert len(set(alone.values())) == len(names)
    assert [engine.text(name) for name in names * 2] == [alone[name] for name in names * 2]


def test_the_base_answers_beside_an_adapter_as_alone(engine: Engine) -> None:
    """In one batch with an adapter's requests the base's own get nothing of it. vLLM's operators for CPUs fail here."""
    alone = engine.text(engine.model)
    engine.load("one", "plain")
    assert engine.text("one") != alone
    with ThreadPoolExecutor(4) as threads:
        beside = [threads.submit(engine.begin("one", tokens=100).read) for _ in range(3)]
        answers = {engine.text(engine.model) for _ in range(8)}
        for answer in beside:
            answer.result()
    assert answers == {alone}


def test_another_path_under_a_new_name_is_not_answered_from_the_old_cache(engine: Engine) -> None:
    """Each version has its own name and path, so that no prefix computed by another one is taken for its own."""
    engine.load("v1", "plain")
    first = engine.text("v1")
    engine.unload("v1")
    engine.load("v2", "sibling")
    second = engine.text("v2")
    assert second != first
    engine.unload("v2")
    engine.load("v3", "sibling")
    assert engine.text("v3") == second


def test_the_key_of_the_api_does_not_guard_the_adapters(engine: Engine) -> None:
    """Why the engine listens on loopback only and the router lets no such path through."""
    if not engine.key or engine.adapters is None:
        pytest.skip("the engine has no key, or sees no adapters of this machine")
    assert engine.ask_as_stranger("GET", "/v1/models") == 401
    body = {"name": "stranger", "src": f"{engine.adapters.seen_at}/plain"}
    assert engine.ask_as_stranger("POST", "/adapters", body) == 200
    assert engine.ask_as_stranger("DELETE", "/adapters/stranger") == 200


def test_a_proof_s_request_is_understood_as_it_is(engine: Engine) -> None:
    """The agent says every parameter that decides which token comes next; an unknown one might be refused."""
    body = {"model": engine.model, "prompt": [1, 2, 3], "max_tokens": 4, "return_token_ids": True, **GREEDY}
    answer = engine.post("/v1/completions", body)
    assert answer.status == 200, answer.data
    assert answer.json()["choices"][0]["token_ids"]


def test_what_the_base_is_asked_for_its_own_answers_is_understood(engine: Engine) -> None:
    """The agent asks with log probabilities, so that near ties of the base are held against no adapter."""
    body = {"model": engine.model, "prompt": "The capital of France is", "max_tokens": 4, "return_token_ids": True}
    answer = engine.post("/v1/completions", {**body, **GREEDY, "logprobs": 2, "return_tokens_as_token_ids": True})
    assert answer.status == 200, answer.data
    choice = answer.json()["choices"][0]
    best = [sorted(position.values(), reverse=True) for position in choice["logprobs"]["top_logprobs"]]
    assert len(best) == len(choice["token_ids"])
    assert all(first >= second for first, second in best)


def test_the_list_tells_how_long_a_request_may_be(engine: Engine) -> None:
    """The agent leaves golden prompts and probes out that are longer."""
    assert isinstance(engine.models()[engine.model]["max_model_len"], int)


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/tokenize", "/detokenize"]
)
def test_the_routes_that_the_agent_lets_through_are_there(engine: Engine, path: str) -> None:
    """Each is asked with too little, which is told with another status than that of a route that is not there."""
    assert engine.post(path, {"model": engine.model}).status not in (404, 405)
