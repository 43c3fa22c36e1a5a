"""What a pod counts of its answers, for Prometheus and for the operator."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set


async def metrics_of(pod: Pod) -> str:
    async with pod.client.get(f"{pod.admin_url}/metrics") as response:
        return await response.text()


async def stream(pod: Pod, model: str, **fields: object) -> bytes:
    body = {"model": model, "prompt": "hello", "max_tokens": 5, "stream": True, **fields}
    async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
        return await response.read()


async def test_answers_tokens_and_loads_are_counted_per_version_and_forgotten_with_it(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_ready()
        await pod.ask("support")
        await pod.ask("a name that somebody made up")
        before = await metrics_of(pod)
        version = await pod.version_state("support", 1)
        pod.want(wanted_set(pod.base))
        await pod.until_state("support", 1, None)

        async def is_forgotten() -> bool:  # a scrape may get what was made for the one just before
            return "support" not in await metrics_of(pod)

        await eventually(is_forgotten, what="no series of what is gone")
    assert 'graft_requests_total{adapter="support",version="v1",status="2xx"} 1.0' in before
    assert 'graft_tokens_total{adapter="support",version="v1",kind="completion"} 6.0' in before
    assert 'graft_tokens_total{adapter="support",version="v1",kind="prompt"} 3.0' in before
    assert 'graft_loads_total{adapter="support",version="v1"} 1.0' in before
    assert 'graft_load_seconds{adapter="support",version="v1"}' in before
    assert 'graft_swap_seconds{adapter="support",version="v1"}' in before
    assert 'graft_rejected_total{code="model_not_found"} 1.0' in before
    assert "made up" not in before
    assert (version["requests"], version["errors"]) == (1, 0)
    assert [*text_string_to_metric_families(before)], "Prometheus can read it"
    assert "_created" not in before


async def test_a_stream_tells_the_time_of_its_first_and_of_its_other_tokens(pod: Pod) -> None:
    pod.engine.seconds_per_token = 0.1
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support", golden_count=0)])))
        await pod.until_ready()
        await stream(pod, "support")
        counted = await metrics_of(pod)
    labels = 'adapter="support",version="v1"'
    assert f"graft_time_to_first_token_seconds_count{{{labels}}} 1.0" in counted
    assert f"graft_time_per_output_token_seconds_count{{{labels}}} 1.0" in counted
    assert 'graft_time_per_output_token_seconds_bucket{adapter="support",version="v1",le="0.05"} 0.0' in counted
    assert 'graft_tokens_total{adapter="support",version="v1",kind="completion"} 5.0' in counted


async def test_a_refusal_is_counted_by_its_reason(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support", rank=64)])))
        await pod.until_state("support", 1, "Refused")
        counted = await metrics_of(pod)
    assert 'graft_refusals_total{adapter="support",version="v1",reason="RankTooHigh"} 1.0' in counted


async def test_what_is_measured_begins_anew_with_each_change_of_the_route(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        for _ in range(3):
            await pod.ask("support")
        alone = await pod.version_state("support", 1)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 50), (v2, 50)])))
        await pod.until_answered_by("support", "support@v2")
        canary = await pod.version_state("support", 1)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_routed("support", 2)
        before_the_switch = await pod.version_state("support", 1)
        await pod.until_answered_by("support", "support@v2")
        after_the_switch = await pod.version_state("support", 1)
    assert (alone["measured"]["requests"], alone["requests"]) == (3, 3)
    assert sum(alone["measured"]["latency"].values()) == 3
    assert canary["measured"]["requests"] < canary["requests"]
    assert after_the_switch["measured"] == before_the_switch["measured"]


async def test_a_request_that_the_engine_lost_is_an_error_of_its_version(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_ready()
        pod.engine.answers.close()
        asking = asyncio.create_task(pod.ask("support"))
        await pod.engine.answers.until_waiting()
        await pod.engine.crash()
        answer = await asking
        version = await pod.version_state("support", 1)
        counted = await metrics_of(pod)
    assert answer.status == 503
    assert (version["requests"], version["errors"]) == (1, 1)
    assert (version["measured"]["requests"], version["measured"]["errors"]) == (1, 1)
    assert version["measured"]["latency"] == {}
    assert 'graft_requests_total{adapter="support",version="v1",status="lost"} 1.0' in counted


async def test_a_client_that_goes_away_is_neither_an_answer_nor_an_error(pod: Pod) -> None:
    pod.engine.streams.close()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support", golden_count=0)])))
        await pod.until_ready()
        body = {"model": "support", "prompt": "x", "max_tokens": 1000, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            await response.content.readline()
        response.close()

        async def is_over() -> bool:
            return bool((await pod.version_state("support", 1))["inflight"] == 0)

        await eventually(is_over)
        version = await pod.version_state("support", 1)
    assert (version["requests"], version["errors"]) == (0, 0)
