"""Versions come, take over, and go, while users keep asking."""

import asyncio
import time
from collections.abc import Sized

import pytest
from tests.doors import Door
from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.digests import sha256_digest
from graft_serving.adapters import asking, lifecycle


async def until_more(outcomes: Sized, count: int) -> None:
    """Wait for so many more."""
    before = len(outcomes)

    async def are_there() -> bool:
        return len(outcomes) >= before + count

    await eventually(are_there, what=f"{count} more outcomes")


async def test_a_wanted_adapter_is_served_and_answers_name_its_version(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        raw = pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        answer = await pod.ask("support")
        state = await pod.state()
    assert answer.status == 200
    assert answer.text == pod.expected("support", 1)
    assert answer.body["model"] == "support"
    assert answer.headers["X-Graft-Version"] == "support@v1"
    assert answer.headers["X-Graft-Base"] == pod.base.digest.removeprefix("sha256:")[:12]
    assert state["wantedDigest"] == sha256_digest(raw)
    assert state["ready"]
    assert state["adapters"][0]["active"] == [{"number": 1, "weight": 100}]
    assert state["adapters"][0]["versions"][0]["engineName"] == v1.engine_name


async def test_a_swap_under_load_fails_no_request_and_never_answers_with_a_wrong_version(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    pod.engine.seconds_per_token = 0.002
    outcomes: list[tuple[int, str, bool]] = []

    async def keep_asking(stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await pod.ask("support")
            version = answer.headers["X-Graft-Version"]
            right = answer.status == 200 and answer.text == pod.expected("support", int(version[-1]))
            outcomes.append((answer.status, version, right))

    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as users:
            for _ in range(8):
                users.create_task(keep_asking(stop))
            await until_more(outcomes, 16)
            pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
            await pod.until_answered_by("support", "support@v2")
            pod.want(wanted_set(pod.base, wanted_adapter("support", [v2])))
            await pod.until_evicted(v1)
            await until_more(outcomes, 16)
            stop.set()
    assert all(right for _, _, right in outcomes)
    assert {version for _, version, _ in outcomes} == {"support@v1", "support@v2"}
    assert list(pod.engine.adapters) == [v2.engine_name]


async def test_a_canary_gets_its_weight_and_a_session_stays_with_its_version(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 75), (v2, 25)])))
        await pod.until_routed("support", 1, 2)
        asked = [await pod.ask("support", headers={"X-Graft-Session": f"user-{n}"}) for n in range(200)]
        again = [await pod.ask("support", headers={"X-Graft-Session": f"user-{n}"}) for n in range(20)]
    versions = [answer.headers["X-Graft-Version"] for answer in asked]
    assert 25 <= versions.count("support@v2") <= 75
    assert [answer.headers["X-Graft-Version"] for answer in again] == versions[:20]


async def test_a_removed_adapter_is_unknown_but_its_stream_under_way_finishes(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    pod.engine.streams.close()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        body = {"model": "support", "prompt": "hello", "max_tokens": 12, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            first = await response.content.readline()
            pod.want(wanted_set(pod.base))
            await pod.until_state("support", 1, "Draining")
            assert (await pod.ask("support")).status == 404
            assert v1.engine_name in pod.engine.adapters
            pod.engine.streams.open()
            rest = await response.content.read()
        await pod.until_state("support", 1, None)
    assert b'"model":"support"' in first
    assert rest.endswith(b"data: [DONE]\n\n")
    assert rest.count(b'"model":"support"') == 11
    assert pod.engine.adapters == {}


async def test_a_version_that_is_wanted_again_while_it_drains_goes_on_serving(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    pod.engine.streams.close()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        body = {"model": "support", "prompt": "hello", "max_tokens": 12, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            await response.content.readline()
            pod.want(wanted_set(pod.base))
            await pod.until_state("support", 1, "Draining")
            pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
            await pod.until_answered_by("support", "support@v1")
            pod.engine.streams.open()
            await response.content.read()
    assert pod.engine.unloads == []


async def test_loading_more_never_makes_a_ready_pod_unready(pod: Pod) -> None:
    v1, other = pod.publisher.publish("support"), pod.publisher.publish("sales")
    loads = pod.engine.load_doors["sales"]
    loads.close()
    seen: list[bool] = []
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]), wanted_adapter("sales", [other])))

        await loads.until_waiting()
        seen += [await pod.is_ready() for _ in range(5)]
        loads.open()

        async def sales_is_proven() -> bool:
            seen.append(await pod.is_ready())
            return bool((await pod.version_state("sales", 1))["state"] == "Proven")

        await eventually(sales_is_proven)
    assert len(seen) > 5
    assert all(seen)


async def test_a_rollback_finds_its_files_on_the_disk_with_the_registry_away(pod: Pod) -> None:
    pod.settings = pod.settings.model_copy(update={"cache_bytes": 10_000_000})
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_answered_by("support", "support@v1")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v2])))
        await pod.until_state("support", 1, None)
        pod.store.delete("team-a/adapters/support/versions/00000001/manifest.json")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        answer = await pod.until_answered_by("support", "support@v1")
    assert answer.text == pod.expected("support", 1)
    assert pod.engine.loads == [v1.engine_name, v2.engine_name, v1.engine_name]


async def test_the_version_that_was_given_up_first_makes_room_even_after_a_restart(pod: Pod) -> None:
    v1, v2, v3 = (pod.publisher.publish("support") for _ in range(3))
    pod.settings = pod.settings.model_copy(update={"cache_bytes": 10_000_000})
    async with pod.agent():
        for stored in (v2, v1, v3):
            pod.want(wanted_set(pod.base, wanted_adapter("support", [stored])))
            await pod.until_answered_by("support", f"support@v{stored.manifest.number}")
        await pod.until_state("support", 1, None)
    size = sum(path.stat().st_size for path in pod.folder_of(v3).rglob("*") if path.is_file())
    pod.settings = pod.settings.model_copy(update={"cache_bytes": 2 * size + 100})
    async with pod.agent():
        await pod.until_evicted(v2)
        await pod.until_answered_by("support", "support@v3")
        assert pod.folder_of(v1).exists()


async def test_a_user_of_openai_s_own_field_is_a_session_too(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 50), (v2, 50)])))
        await pod.until_routed("support", 1, 2)
        asked = [await pod.ask("support", user=f"user-{n % 20}") for n in range(40)]
        by_header = [await pod.ask("support", user="x", headers={"X-Graft-Session": f"user-{n}"}) for n in range(20)]
    versions = [answer.headers["X-Graft-Version"] for answer in asked]
    assert versions[:20] == versions[20:]
    assert set(versions) == {"support@v1", "support@v2"}
    assert [answer.headers["X-Graft-Version"] for answer in by_header] == versions[:20]


async def test_adapters_are_loaded_side_by_side_but_never_more_than_the_setting_says(pod: Pod) -> None:
    pod.settings = pod.settings.model_copy(update={"loads_at_once": 2})
    names = [f"topic-{number}" for number in range(6)]
    load = Door()
    load.close()
    pod.engine.load_doors |= dict.fromkeys(names, load)
    async with pod.agent():
        pod.want(wanted_set(pod.base, *(wanted_adapter(name, [pod.publisher.publish(name)]) for name in names)))
        for name in names:
            await pod.until_state(name, 1, "Loading")
        await load.until_waiting(2)
        load.open()
        await pod.until_ready()
    assert len(pod.engine.loads) == 6
    assert pod.engine.most_loading == 2


async def test_prompts_of_a_proof_come_together_while_nobody_else_asks(pod: Pod) -> None:
    async with pod.agent():
        loads = pod.engine.load_doors["support"]
        loads.close()
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support", golden_count=8)])))
        await loads.until_waiting()
        pod.engine.answers.close()
        loads.open()
        # Six of eight decide it, if they agree.
        await pod.engine.answers.until_waiting(6)
        pod.engine.answers.open()
        await pod.until_ready()


async def test_prompts_of_all_proofs_come_two_at_a_time_beside_clients(pod: Pod) -> None:
    first = pod.publisher.publish("support", golden_count=8)
    later = {name: pod.publisher.publish(name, golden_count=8) for name in ("sales", "law")}
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [first])))
        await pod.until_ready()
        assert (await pod.ask("support")).status == 200
        pod.engine.answers.close()
        pod.engine.most_generating = 0
        pod.want(
            wanted_set(
                pod.base,
                wanted_adapter("support", [first]),
                *(wanted_adapter(name, [version]) for name, version in later.items()),
            )
        )
        await pod.engine.answers.until_waiting(2)
        pod.engine.answers.open()
        for name in later:
            await pod.until_state(name, 1, "Proven")
    assert pod.engine.most_generating == asking.MOST_BESIDE_CLIENTS


async def test_what_comes_in_one_pause_is_one_event(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PAUSES_PER_PASS", 1_000_000)
    passes = 0
    began = time.monotonic()
    async with pod.agent() as agent:
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        refresh = agent.lifecycle._on_reconciled

        def count() -> None:
            nonlocal passes
            passes += 1
            refresh()

        agent.lifecycle._on_reconciled = count
        for _ in range(100):
            agent.lifecycle.wake()
            await asyncio.sleep(0)

        async def has_passed() -> bool:
            return passes > 0

        await eventually(has_passed)
    # One may have been under way, and each is followed by the whole pause.
    assert passes <= 2 + (time.monotonic() - began) / lifecycle.LONGEST_PAUSE_SECONDS
