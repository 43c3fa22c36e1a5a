"""Which proofs refuse a version, which are tried again, and what they cost the others."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from tests.serving.conftest import Pod, eventually
from tests.serving.fake_engine import answer_text
from tests.serving.published import wanted_adapter, wanted_set

from graft_serving.adapters.bring_up import MOST_BROKEN_PROOFS


class Stumbles:
    """Answers generations of versions with an error, so often."""

    def __init__(self, status: int, times: int, *, of: str = "--v") -> None:
        self.status = status
        self.times = times
        self.of = of
        self.count = 0

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if self.of not in body["model"] or self.count >= self.times:
            return None
        self.count += 1
        return web.json_response({"error": {"message": "CUDA out of memory", "code": self.status}}, status=self.status)


async def restart(pod: Pod) -> None:
    """Restart the engine as a container does: not within the blink of an eye."""
    await pod.engine.crash()

    async def is_down() -> bool:
        return bool((await pod.state())["engine"]["state"] == "Down")

    await eventually(is_down)
    await pod.engine.start()


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_error_during_a_proof_is_no_verdict(pod: Pod, status: int) -> None:
    pod.engine.instead = Stumbles(status, 1)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        answer = await pod.until_answered_by("support", "support@v1")
    assert answer.text == pod.expected("support", 1)


async def test_an_engine_that_stumbles_after_a_restart_costs_no_version_that_serves(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_answered_by("support", "support@v1")
        pod.engine.instead = Stumbles(500, 2)
        await pod.engine.crash()
        await pod.engine.start()
        await pod.until_answered_by("support", "support@v1")
        await pod.until_ready()


async def test_an_engine_that_breaks_down_under_a_proof_is_not_the_version_s_fault(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_answered_by("support", "support@v1")
        pod.engine.instead = Stumbles(500, 10_000, of="")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        failing = await pod.until_failed("support", 2)
        pod.engine.instead = None
        await pod.until_answered_by("support", "support@v2")
    assert failing["reason"] in ("EngineBroken", "EngineUnreachable")


async def test_errors_that_go_on_while_the_base_answers_refuse_until_the_engine_is_started_anew(pod: Pod) -> None:
    stumbles = pod.engine.instead = Stumbles(500, 10_000)
    sibling = pod.publisher.publish("sales")
    stumbles.of = "support--"
    async with pod.agent():
        support = wanted_adapter("support", [pod.publisher.publish("support")])
        pod.want(wanted_set(pod.base, support, wanted_adapter("sales", [sibling])))
        refused = await pod.until_state("support", 1, "Refused")
        await pod.until_ready()
        pod.engine.instead = None
        await restart(pod)
        await pod.until_answered_by("support", "support@v1")
    assert refused["reason"] == "ProofFailed"
    assert "CUDA out of memory" in refused["message"]
    assert stumbles.count >= MOST_BROKEN_PROOFS


async def test_what_the_engine_did_not_load_is_tried_again_once_it_is_started_anew(pod: Pod) -> None:
    pod.engine.refuses.add("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        refused = await pod.until_state("support", 1, "Refused")
        await pod.until_ready()
        await restart(pod)

        async def was_tried_again() -> bool:
            return len(pod.engine.loads) == 2

        await eventually(was_tried_again)
        await pod.until_state("support", 1, "Refused")
        pod.engine.refuses.clear()
        await restart(pod)
        await pod.until_answered_by("support", "support@v1")
    assert refused["reason"] == "EngineRefused"


@pytest.mark.parametrize(("wrong", "state", "asked"), [(1, "Proven", {1: 4, 2: 3}), (2, "Refused", {1: 4, 2: 4})])
async def test_a_wrong_answer_is_final_after_a_second_proof_only(
    pod: Pod, wrong: int, state: str, asked: dict[int, int]
) -> None:
    proofs: Counter[int] = Counter()

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if "--v" not in body["model"]:
            return None
        proof = len(pod.engine.loads)
        proofs[proof] += 1
        if proof > wrong:
            return None
        return web.json_response({"choices": [{"text": answer_text([0] * 6), "token_ids": [0] * 6}]})

    pod.engine.instead = answer
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_state("support", 1, state)
        await pod.until_ready()
    assert len(pod.engine.loads) == 2
    assert proofs == asked, "of four prompts the last one is asked where it can decide"


async def test_a_request_that_is_wrong_refuses_at_once(pod: Pod) -> None:
    stumbles = pod.engine.instead = Stumbles(400, 10_000)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        refused = await pod.until_state("support", 1, "Refused")
    assert refused["reason"] == "ProofFailed"
    assert stumbles.count == 3


async def test_a_manifest_with_hundreds_of_golden_prompts_costs_no_more_than_another(pod: Pod) -> None:
    sibling = pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sibling])))
        await pod.until_answered_by("sales", "sales@v1")
        hostile = pod.publisher.publish("support", golden_count=400)
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sibling]), wanted_adapter("support", [hostile])))
        await pod.until_answered_by("support", "support@v1")
    assert pod.engine.generations[hostile.engine_name] <= 10


@pytest.mark.parametrize(("length", "asked", "told"), [(64, 3, False), (8, 3, False), (7, 1, True)])
async def test_golden_prompts_that_do_not_fit_the_engine_are_left_out_and_that_is_told(
    pod: Pod, length: int, asked: int, *, told: bool
) -> None:
    # Each has two tokens, and six in its answer. Three that agree of four are enough.
    pod.engine.max_model_length = length
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        version = await pod.until_state("support", 1, "Proven")
    assert pod.engine.generations[v1.engine_name] == asked
    assert ("none of its 4 golden prompts fits" in version["message"]) == told


async def test_a_proof_says_every_parameter_that_the_base_or_the_engine_could_set_otherwise(pod: Pod) -> None:
    bodies: list[dict[str, Any]] = []

    async def note(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        bodies.append(body)
        return None

    pod.engine.instead = note
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_state("support", 1, "Proven")
    expected = {"temperature": 0, "repetition_penalty": 1, "top_k": -1, "top_p": 1, "min_p": 0, "n": 1}
    expected |= {"presence_penalty": 0, "frequency_penalty": 0, "min_tokens": 0}
    assert bodies
    for body in bodies:
        assert expected.items() <= body.items()


async def test_a_version_that_the_engine_s_cache_has_dropped_already_is_unloaded(pod: Pod) -> None:
    pod.engine.evicts.add("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_answered_by("support", "support@v1")
        pod.want(wanted_set(pod.base))
        await pod.until_state("support", 1, None)


@pytest.mark.parametrize("model", ["support", "tiny"])
async def test_beside_a_client_in_the_midst_of_a_stream_two_prompts_of_proofs_are_in_the_engine(
    pod: Pod, model: str
) -> None:
    served = wanted_adapter("support", [pod.publisher.publish("support")])
    names = ("a", "b", "c", "d")
    later = [wanted_adapter(name, [pod.publisher.publish(name, golden_count=8)]) for name in names]
    async with pod.agent():
        pod.want(wanted_set(pod.base, served))
        await pod.until_routed("support", 1)
        pod.engine.streams.close()
        body = {"model": model, "prompt": "hello", "max_tokens": 6, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as stream:
            assert await stream.content.readline()
            pod.engine.answers.close()
            pod.engine.most_generating = 0
            pod.want(wanted_set(pod.base, served, *later))
            await pod.engine.answers.until_waiting(2)
            await asyncio.sleep(1)  # in which the others would come
            beside = pod.engine.answers.waiting
            pod.engine.streams.open()
            assert (await stream.content.read()).endswith(b"data: [DONE]\n\n")
            await pod.engine.answers.until_waiting(3)
            pod.engine.answers.open()
        for name in names:
            await pod.until_routed(name, 1)
    assert beside == 2


async def test_proofs_that_take_long_do_not_hide_the_engine_from_who_watches_it(pod: Pod) -> None:
    names = [f"topic-{number}" for number in range(20)]
    wanted = [wanted_adapter(name, [pod.publisher.publish(name, golden_count=8)]) for name in names]
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        loads = pod.engine.load_doors["topic-0"]
        pod.engine.load_doors |= dict.fromkeys(names, loads)
        loads.close()
        pod.want(wanted_set(pod.base, *wanted))
        await loads.until_waiting()
        pod.engine.answers.close()
        loads.open()
        await pod.engine.answers.until_waiting(8)
        await pod.engine.lists.until_come(pod.engine.lists.comers + 3)
        state = await pod.state()
        assert pod.engine.answers.waiting >= 8
        pod.engine.answers.open()
    assert state["engine"]["state"] == "Ready"
