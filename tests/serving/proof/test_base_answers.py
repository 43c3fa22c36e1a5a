"""An adapter that changes what the base answers is refused, and nothing else is held against one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.serving.conftest import Pod, eventually
from tests.serving.fake_engine import BASE_WEIGHTS, answer_text, answer_token_ids
from tests.serving.proof.test_proof import restart
from tests.serving.published import wanted_adapter, wanted_set

BASE_ANSWER = answer_text(answer_token_ids(BASE_WEIGHTS, "hello", 6))
Instead = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]


class AskedOfBase:
    """Notes what the base is asked, and answers in its place where a test says so."""

    def __init__(self, pod: Pod, answer: Callable[[dict[str, Any]], web.Response | None] = lambda _: None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer = answer
        self._base = pod.engine.base_model
        pod.engine.instead = self

    @property
    def recordings(self) -> int:
        """Prompts that were asked to be recorded."""
        return sum("logprobs" in body for body in self.bodies)

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if body["model"] != self._base:
            return None
        self.bodies.append(body)
        return self.answer(body)


def otherwise(body: dict[str, Any], weights: bytes, margin: float = 2.0) -> web.Response:
    """The answer of other weights to the same request."""
    token_ids = answer_token_ids(weights, body["prompt"], body["max_tokens"])
    best = [{"token_id:1": -0.1, "token_id:2": -0.1 - margin} for _ in token_ids]
    choice = {"text": answer_text(token_ids), "token_ids": token_ids, "logprobs": {"top_logprobs": best}}
    return web.json_response({"choices": [choice]})


@pytest.mark.parametrize("gives_logprobs", [True, False])
async def test_an_adapter_that_answers_for_its_base_is_refused_and_its_siblings_go_on(
    pod: Pod, *, gives_logprobs: bool
) -> None:
    pod.engine.gives_logprobs = gives_logprobs
    pod.engine.leaks.add("support")
    support, sales = pod.publisher.publish("support"), pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales])))
        await pod.until_answered_by("sales", "sales@v1")
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales]), wanted_adapter("support", [support])))
        refused = await pod.until_state("support", 1, "Refused")
        by_base, by_sales, by_support = await pod.ask("tiny"), await pod.ask("sales"), await pod.ask("support")
        await pod.until_ready()
    assert refused["reason"] == "BaseAnswersChanged"
    assert "the engine applies the adapter to the base's requests" in refused["message"]
    assert list(pod.engine.adapters) == [sales.engine_name]
    assert (by_base.text, by_sales.text) == (BASE_ANSWER, pod.expected("sales", 1))
    assert by_support.status == 503


async def test_of_many_that_come_at_once_only_the_one_that_leaks_is_refused(pod: Pod) -> None:
    pod.engine.leaks.add("topic-3")
    names = [f"topic-{number}" for number in range(6)]
    async with pod.agent():
        pod.want(wanted_set(pod.base, *(wanted_adapter(name, [pod.publisher.publish(name)]) for name in names)))
        refused = await pod.until_state("topic-3", 1, "Refused")
        for name in set(names) - {"topic-3"}:
            await pod.until_answered_by(name, f"{name}@v1")
        await pod.until_ready()
        assert (await pod.ask("tiny")).text == BASE_ANSWER
    assert refused["reason"] == "BaseAnswersChanged"


async def test_a_leak_that_only_the_adapter_s_own_prompts_show_is_found(pod: Pod) -> None:
    weights: list[bytes] = []
    asked = AskedOfBase(
        pod,
        lambda body: otherwise(body, weights[0]) if isinstance(body["prompt"], list) and pod.engine.adapters else None,
    )
    support = pod.publisher.publish("support")
    weights.append(pod.publisher.weights["support", 1])
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [support])))
        refused = await pod.until_state("support", 1, "Refused")
    assert refused["reason"] == "BaseAnswersChanged"
    assert "gives the adapter's answer to all 4 golden prompts" in refused["message"]
    assert asked.bodies


@pytest.mark.parametrize("status", [500, 429])
async def test_a_stumble_of_the_engine_is_not_held_against_the_adapter(pod: Pod, status: int) -> None:
    stumbles, is_over = 0, False

    def answer(body: dict[str, Any]) -> web.Response | None:
        nonlocal stumbles
        if body["max_tokens"] == 1 or not pod.engine.adapters or is_over:
            return None
        stumbles += 1
        return web.json_response({"error": {"message": "CUDA out of memory"}}, status=status)

    AskedOfBase(pod, answer)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        failing = await pod.until_failed("support", 1)
        is_over = True
        await pod.until_answered_by("support", "support@v1")
    assert stumbles > 0
    assert failing["reason"] == "EngineBroken"
    assert "the base could not be asked" in failing["message"]


async def test_a_base_that_wavers_between_near_ties_costs_no_adapter(pod: Pod) -> None:
    asked = AskedOfBase(pod, lambda body: otherwise(body, str(len(asked.bodies)).encode(), margin=0.1))
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_answered_by("support", "support@v1")
    assert len(pod.engine.loads) == 1


async def test_a_base_that_answers_otherwise_by_itself_costs_no_adapter(pod: Pod) -> None:
    async with pod.agent():
        sales = pod.publisher.publish("sales")
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales])))
        await pod.until_answered_by("sales", "sales@v1")
        asked = AskedOfBase(pod, lambda body: otherwise(body, b"other kernels"))
        support = wanted_adapter("support", [pod.publisher.publish("support")])
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales]), support))
        await pod.until_answered_by("support", "support@v1")
    assert asked.recordings == 4
    assert sales.engine_name not in pod.engine.unloads


async def test_the_base_is_recorded_once_for_each_start_of_the_engine(pod: Pod) -> None:
    asked = AskedOfBase(pod)
    support, sales = pod.publisher.publish("support"), pod.publisher.publish("sales")
    both = wanted_set(pod.base, wanted_adapter("support", [support]), wanted_adapter("sales", [sales]))
    async with pod.agent():
        pod.want(both)
        await pod.until_answered_by("support", "support@v1")
        await pod.until_answered_by("sales", "sales@v1")
        first = asked.recordings
        # Another process may calculate with other kernels.
        asked.answer = lambda body: otherwise(body, b"other kernels")
        await restart(pod)
        await pod.until_answered_by("support", "support@v1")
        await pod.until_answered_by("sales", "sales@v1")
        await pod.until_ready()
    assert (first, asked.recordings) == (4, 8)
    assert pod.engine.unloads == []


async def test_an_agent_that_comes_anew_knows_what_the_base_answered_before_anything_was_loaded(pod: Pod) -> None:
    asked = AskedOfBase(pod)
    support, sales = pod.publisher.publish("support"), pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales])))
        await pod.until_answered_by("sales", "sales@v1")
    # As if the agent had been killed while it loaded an adapter that leaks.
    pod.engine.leaks.add("support")
    recorded = asked.recordings
    async with pod.agent():
        await pod.until_answered_by("sales", "sales@v1")
        assert asked.recordings == recorded
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales]), wanted_adapter("support", [support])))
        refused = await pod.until_state("support", 1, "Refused")
    assert refused["reason"] == "BaseAnswersChanged"


async def test_what_a_load_costs_the_base(pod: Pod) -> None:
    asked = AskedOfBase(pod)
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        confirmations = len(asked.bodies)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_answered_by("support", "support@v1")
    bodies = asked.bodies[confirmations:]
    assert len(bodies) == 4 + 3 + 1, "recorded; three that agree of four; one golden prompt that acquits the base"
    assert sum(body["max_tokens"] for body in bodies) <= 100
    assert all(body["temperature"] == 0 and body["repetition_penalty"] == 1 for body in bodies)


async def test_an_engine_that_dies_of_log_probabilities_is_not_asked_for_them_again(pod: Pod) -> None:
    crashes: list[asyncio.Task[None]] = []

    def die(body: dict[str, Any]) -> web.Response | None:
        if "logprobs" not in body:
            return None
        if not crashes:
            crashes.append(asyncio.create_task(pod.engine.crash()))
        return web.json_response({"error": {"message": "EngineCore encountered an issue."}}, status=500)

    AskedOfBase(pod, die)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))

        async def is_down() -> bool:
            return bool((await pod.state())["engine"]["state"] == "Down")

        await eventually(is_down)
        await pod.engine.start()
        await pod.until_answered_by("support", "support@v1")
    assert len(crashes) == 1


async def test_an_adapter_that_leaked_is_tried_again_on_an_engine_that_was_started_anew(pod: Pod) -> None:
    pod.engine.leaks.add("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_state("support", 1, "Refused")
        pod.engine.leaks.clear()
        await restart(pod)
        await pod.until_answered_by("support", "support@v1")


async def test_requests_of_siblings_are_answered_while_a_leak_is_looked_into(pod: Pod) -> None:
    pod.engine.leaks.add("support")
    loads = pod.engine.load_doors["support"]
    loads.close()
    sales = pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales])))
        await pod.until_answered_by("sales", "sales@v1")
        support = wanted_adapter("support", [pod.publisher.publish("support")])
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sales]), support))

        async def is_refused() -> bool:
            for _ in range(3):
                answer = await pod.ask("sales")
                assert (answer.status, answer.text) == (200, pod.expected("sales", 1))
            loads.let_through()
            return bool((await pod.version_state("support", 1))["state"] == "Refused")

        await loads.until_waiting()
        await eventually(is_refused)
