"""The versions of a rollout answer the new one's probes on the engine that serves them."""

from typing import Any

from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.digests import sha256_digest
from graft_registry.versions import StoredVersion


async def scores(pod: Pod) -> dict[int, Any]:
    """The score of each version of `support`, by its number."""
    [adapter] = [found for found in (await pod.state())["adapters"] if found["name"] == "support"]
    return {version["number"]: version["probes"] for version in adapter["versions"]}


async def until_scored(pod: Pod, **expected: int | None) -> None:
    """Wait for the numbers of right answers of `v1`, `v2`, …"""

    async def are_scored() -> bool:
        found = {f"v{number}": score for number, score in (await scores(pod)).items()}
        complete = all(score is None or score["asked"] == score["total"] for score in found.values())
        return complete and {name: score and score["right"] for name, score in found.items()} == expected

    await eventually(are_scored, what=f"the scores {expected}")


async def begin_scoring(pod: Pod, v1: StoredVersion, v2: StoredVersion) -> None:
    """Have both versions served, and the engine hold its answer to the first probe."""
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1])))
    await pod.until_ready()
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
    await pod.until_answered_by("support", "support@v2")
    pod.engine.answers.close()
    pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], scoring=(v2, v1))))
    await pod.engine.answers.until_waiting()


async def until_applied(pod: Pod, raw: bytes) -> None:
    """Wait for the pod to do what the wanted set says."""

    async def is_applied() -> bool:
        return bool((await pod.state())["wantedDigest"] == sha256_digest(raw))

    await eventually(is_applied, what="the wanted set")


def published_pair(pod: Pod, *, right: int) -> tuple[StoredVersion, StoredVersion]:
    """Versions 1 and 2, of which version `right` answers the probes of version 2 right."""
    stable = pod.publisher.publish("support", value=1)
    return stable, pod.publisher.publish("support", value=2, probes_of=right)


async def test_both_versions_answer_the_candidate_s_probes_once(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=2)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 90), (v2, 10)], scoring=(v2, v1))))
        await until_scored(pod, v1=0, v2=4)
        asked = dict(pod.engine.generations)
        raw = pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], [(v1, 1), (v2, 1)], scoring=(v2, v1))))
        await until_applied(pod, raw)
        assert {score["of"] for score in (await scores(pod)).values()} == {v2.digest}
        version = await pod.version_state("support", 2)
    assert pod.engine.generations == asked
    assert (version["requests"], version["inflight"]) == (0, 0), "what the agent asks is nobody's request"


async def test_a_candidate_that_answers_worse_is_told_so(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=1)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], scoring=(v2, v1))))
        await until_scored(pod, v1=4, v2=0)


async def test_versions_are_scored_only_where_the_operator_asks_for_it(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=2)
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2])))
        await pod.until_answered_by("support", "support@v2")
        assert await scores(pod) == {1: None, 2: None}


async def test_a_version_without_probes_is_nothing_to_wait_for(pod: Pod) -> None:
    v1, v2 = pod.publisher.publish("support"), pod.publisher.publish("support")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [v1, v2], scoring=(v2, v1))))
        await until_scored(pod, v1=0, v2=0)
        assert [score["total"] for score in (await scores(pod)).values()] == [0, 0]


async def test_one_probe_is_asked_at_a_time_beside_the_requests_of_users(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=2)
    async with pod.agent():
        pod.engine.seconds_per_token = 0.005
        await begin_scoring(pod, v1, v2)
        pod.engine.most_generating = 1
        pod.engine.answers.open()
        await until_scored(pod, v1=0, v2=4)
    assert pod.engine.most_generating == 1


async def test_a_version_that_is_rolled_back_is_asked_no_further_and_unloaded_unharmed(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=2)
    async with pod.agent():
        await begin_scoring(pod, v1, v2)
        asked = dict(pod.engine.generations)
        await until_applied(pod, pod.want(wanted_set(pod.base, wanted_adapter("support", [v1]))))
        pod.engine.answers.open()
        await pod.until_evicted(v2)
        assert pod.engine.cut_off == []
        assert pod.engine.generations == asked
        assert (await pod.ask("support")).headers["X-Graft-Version"] == "support@v1"


async def test_probes_are_asked_anew_after_a_crash_of_the_engine(pod: Pod) -> None:
    v1, v2 = published_pair(pod, right=2)
    async with pod.agent():
        await begin_scoring(pod, v1, v2)
        await pod.engine.crash()
        pod.engine.answers.open()
        await pod.engine.start()
        await until_scored(pod, v1=0, v2=4)
