"""Bad versions: refused with a reason, and nobody else suffers."""

import pytest
from tests.serving.conftest import Pod, eventually
from tests.serving.published import NAMESPACE, base_manifest, wanted_adapter, wanted_set

from graft_operator.agents.state_parser import read_state
from graft_registry.digests import sha256_digest
from graft_registry.layout import AdapterLayout
from graft_serving.adapters import lifecycle
from graft_serving.versions import VersionState


async def test_a_version_that_the_engine_refuses_leaves_the_former_one_and_its_siblings_serving(pod: Pod) -> None:
    v1, sibling = pod.publisher.publish("support"), pod.publisher.publish("sales")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]), wanted_adapter("sales", [sibling])))
        await pod.until_ready()
        pod.engine.refuses.add("support")
        v2, next_sibling = pod.publisher.publish("support"), pod.publisher.publish("sales")
        pod.want(
            wanted_set(
                pod.base,
                wanted_adapter("support", [v1, v2]),
                wanted_adapter("sales", [sibling, next_sibling]),
            )
        )
        refused = await pod.until_state("support", 2, "Refused")
        await pod.until_answered_by("sales", "sales@v2")
        answer = await pod.ask("support")
        ready = await pod.is_ready()
    assert refused["reason"] == "EngineRefused"
    assert "DoRA" in refused["message"]
    assert answer.headers["X-Graft-Version"] == "support@v1"
    assert answer.text == pod.expected("support", 1)
    assert ready
    assert pod.engine.loads.count(v2.engine_name) == 1


@pytest.mark.parametrize(
    ("reason", "published"),
    [
        pytest.param("BaseDigestMismatch", {"base": base_manifest("another")}, id="trained on another base"),
        pytest.param("RankTooHigh", {"rank": 64}, id="a rank above the engine's"),
        pytest.param("NotFinite", {"value": float("nan")}, id="weights that are not numbers"),
        pytest.param("MethodNotServable", {"servable": "Merged"}, id="meant for merged serving"),
    ],
)
async def test_a_version_that_must_not_be_loaded_never_reaches_the_engine(
    pod: Pod, reason: str, published: dict[str, object]
) -> None:
    bad = pod.publisher.publish("support", **published)  # type: ignore[arg-type]
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [bad])))
        refused = await pod.until_state("support", 1, "Refused")
        await pod.until_ready()
        answer = await pod.ask("support")
    assert refused["reason"] == reason
    assert pod.engine.loads == []
    assert answer.status == 503
    assert answer.body["error"]["code"] == "model_unavailable"
    assert answer.headers["Retry-After"]


async def test_a_version_that_fails_its_proof_is_unloaded_and_the_alias_stays(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    v2 = pod.publisher.publish("support", golden_of=b"other weights than those that are published")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 100)])))
        await pod.until_ready()
        refused = await pod.until_state("support", 2, "Refused")
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        answer = await pod.until_answered_by("support", "support@v1")
    assert refused["reason"] == "ProofFailed"
    assert "0 of 4 golden prompts" in refused["message"]
    assert answer.text == pod.expected("support", 1)
    assert list(pod.engine.adapters) == [v1.engine_name]


async def test_an_adapter_that_the_engine_loads_but_does_not_apply_is_refused(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    pod.engine.ignores.add("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        refused = await pod.until_state("support", 1, "Refused")
    assert "not applied" in refused["message"]


async def test_a_damaged_blob_in_the_registry_is_refused_by_its_digest(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    blob = next(entry.key for entry in pod.store.list("team-a/adapters/support/blobs/"))
    pod.store.put(blob, b"not what was published")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        refused = await pod.until_state("support", 1, "Refused")
    assert refused["reason"] == "DigestMismatch"
    assert pod.engine.loads == []


async def test_a_missing_version_is_retried_and_does_not_keep_its_sibling_from_being_served(pod: Pod) -> None:
    missing, sibling = pod.publisher.publish("support"), pod.publisher.publish("sales")
    manifest = "team-a/adapters/support/versions/00000001/manifest.json"
    content = pod.store.get(manifest)
    pod.store.delete(manifest)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [missing]), wanted_adapter("sales", [sibling])))
        await pod.until_ready()
        failing = await pod.until_state("support", 1, "Failing")
        sales = await pod.ask("sales")
        pod.store.put(manifest, content)
        await pod.until_answered_by("support", "support@v1")
    assert failing["reason"] == "VersionNotFound"
    assert sales.status == 200


async def test_a_slow_load_does_not_delay_another_adapter(pod: Pod) -> None:
    slow, quick = pod.publisher.publish("slow"), pod.publisher.publish("quick")
    pod.engine.load_doors["slow"].close()
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("slow", [slow]), wanted_adapter("quick", [quick])))
        await pod.until_answered_by("quick", "quick@v1")
        await pod.until_state("slow", 1, "Loading")


async def test_a_version_without_golden_prompts_has_to_generate_a_token(pod: Pod) -> None:
    v1 = pod.publisher.publish("support", golden_count=0)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        assert pod.engine.generations[v1.engine_name] == 1, "before any client asks"
        await pod.until_answered_by("support", "support@v1")


async def test_a_wanted_set_for_another_base_is_rejected_and_the_former_stays_in_force(pod: Pod) -> None:
    v1 = pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_ready()
        applied = (await pod.state())["wantedDigest"]
        pod.want(wanted_set(base_manifest("another")))
        pod.want({"schema": "graft.dev/wanted/v1"})

        async def complains() -> bool:
            return "base" in (await pod.state())["message"]

        await eventually(complains)
        assert (await pod.state())["wantedDigest"] == applied
        assert (await pod.ask("support")).status == 200


async def test_what_an_engine_says_of_one_version_hides_no_sibling_from_the_operator(pod: Pod) -> None:
    pod.engine.refuses.add("support")
    pod.engine.refusal = f"unexpected modules: {'x' * 300_000}"
    async with pod.agent():
        published = [pod.publisher.publish(name) for name in ("support", "sales")]
        pod.want(wanted_set(pod.base, *(wanted_adapter(each.manifest.adapter, [each]) for each in published)))
        await pod.until_state("support", 1, "Refused")
        await pod.until_state("sales", 1, "Proven")
        async with pod.client.get(f"{pod.admin_url}/state") as response:
            seen = {adapter.name: adapter.versions[0] for adapter in read_state(await response.read()).adapters}
    assert seen["sales"].state == "Proven"
    assert seen["support"].message.startswith("the engine answered 500: unexpected modules: x")


@pytest.mark.parametrize("card", [None, 7, "support", {"id": "odd", "parent": "tiny", "root": None}])
async def test_an_engine_with_an_odd_card_in_its_list_is_served_all_the_same(pod: Pod, card: object) -> None:
    pod.engine.odd_cards.append(card)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        answer = await pod.until_answered_by("support", "support@v1")
    assert answer.text == pod.expected("support", 1)


async def test_an_engine_whose_list_can_t_be_read_is_down_and_nothing_else_is(pod: Pod) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
        await pod.until_answered_by("support", "support@v1")
        pod.engine.list_instead = b'{"data":[{"id":"tiny\xff"}]}'

        async def is_down() -> bool:
            return bool((await pod.state())["engine"]["state"] == "Down")

        await eventually(is_down)
        message = (await pod.state())["engine"]["message"]
        pod.engine.list_instead = None
        await pod.until_answered_by("support", "support@v1")
    assert "/v1/models" in message


async def test_no_version_is_served_by_the_name_of_another(pod: Pod) -> None:
    stored = pod.publisher.publish("support")
    pod.settings = pod.settings.model_copy(update={"cache_bytes": 10_000_000})
    adapter = wanted_adapter("support", [stored])
    other = wanted_adapter("sales", [stored])
    renumbered = adapter | {
        "versions": [{"number": 7, "manifestDigest": stored.digest}],
        "route": [{"number": 7, "weight": 100}],
    }
    async with pod.agent():
        pod.want(wanted_set(pod.base, adapter))
        await pod.until_answered_by("support", "support@v1")
        pod.want(wanted_set(pod.base, renumbered, other))
        refused = [await pod.until_state("support", 7, "Refused"), await pod.until_state("sales", 1, "Refused")]
        answers = [await pod.ask("sales"), await pod.ask("support@v7")]
    assert [found["reason"] for found in refused] == ["DigestMismatch"] * 2
    assert "support@v1" in refused[1]["message"]
    assert [answer.status for answer in answers] == [503, 404]


async def test_that_a_version_is_refused_is_told_only_once_the_router_knows_it(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support", base=base_manifest("another"))
    async with pod.agent() as agent:
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
        await pod.until_answered_by("support", "support@v1")
        monkeypatch.setattr(lifecycle, "PAUSES_PER_PASS", 1e9)
        monkeypatch.setattr(lifecycle, "LONGEST_PAUSE_SECONDS", 3.0)
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))

        async def is_refused() -> bool:
            found = (record for key, record in agent.lifecycle.records.items() if key.number == 2)
            return any(record.state is VersionState.REFUSED for record in found)

        await eventually(is_refused)
        early = next(adapter["versions"][1]["state"] for adapter in (await pod.state())["adapters"])
        before = await pod.ask("support@v2")
        await pod.until_state("support", 2, "Refused")
        after = await pod.ask("support@v2")
    assert (early, before.status) == ("Proving", 503)
    assert after.status == 404


async def test_a_manifest_that_could_not_be_written_again_is_refused_and_not_fetched_for_ever(pod: Pod) -> None:
    sibling, v1 = pod.publisher.publish("sales"), pod.publisher.publish("support")
    odd = (
        v1.manifest.to_bytes()
        .replace(b'"prompt":"prompt ', rb'"prompt":"\ud800 ')
        .replace(b'"number":1', b'"number":2')
    )
    pod.store.put(AdapterLayout(NAMESPACE, "support").manifest(2), odd)
    wanted = wanted_adapter("support", [v1])
    wanted["versions"] = [{"number": 2, "manifestDigest": sha256_digest(odd)}]
    wanted["route"] = [{"number": 2, "weight": 100}]
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("sales", [sibling]), wanted))
        refused = await pod.until_state("support", 2, "Refused")
        await pod.until_answered_by("sales", "sales@v1")
    assert refused["reason"] == "DigestMismatch"
    assert "not JSON" in refused["message"]
