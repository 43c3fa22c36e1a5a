"""A pod whose engine's model is one version, merged: proven, named and guarded as versions beside a base are."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.ports import free_port
from tests.serving.conftest import Pod, eventually, pod_named
from tests.serving.fake_engine import BASE_WEIGHTS, FakeEngine
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.s3.store import ObjectStore
from graft_registry.versions import StoredVersion
from graft_serving.modes import MergedVersion


@dataclasses.dataclass
class MergedPod:
    pod: Pod
    stored: StoredVersion

    def want_own(self) -> None:
        self.pod.want(wanted_set(self.pod.base, wanted_adapter("support", [self.stored])))


@contextlib.asynccontextmanager
async def merged_pod(
    folder: Path, store: ObjectStore, client: aiohttp.ClientSession, **changes: Any
) -> AsyncIterator[MergedPod]:
    async with pod_named("support-0", folder, store, client) as pod:
        await pod.engine.crash()
        stored = pod.publisher.publish("support", servable="Merged")
        manifest = folder / "version.json"
        manifest.write_bytes(stored.manifest.to_bytes())
        pod.settings = pod.settings.model_copy(update={"merged_manifest": manifest, **changes})
        weights = pod.publisher.weights["support", 1]
        pod.engine = FakeEngine(pod.engine.port, base_model=stored.engine_name, weights=weights)
        await pod.engine.start()
        yield MergedPod(pod, stored)


@pytest.fixture
async def merged(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> AsyncIterator[MergedPod]:
    async with merged_pod(tmp_path, store, client) as one:
        yield one


async def test_a_merged_version_is_proven_and_answers_under_its_own_name(merged: MergedPod) -> None:
    pod = merged.pod
    async with pod.agent():
        merged.want_own()
        await pod.until_ready()
        answer = await pod.ask("support")
        assert (answer.status, answer.headers["X-Graft-Version"]) == (200, "support@v1")
        assert answer.headers["X-Graft-Base"] == pod.base.digest[7:19]
        assert answer.text == pod.expected("support", 1)
        assert answer.body["model"] == "support"
        assert pod.engine.generations[merged.stored.engine_name] > len(merged.stored.manifest.golden)
        assert (pod.engine.loads, pod.engine.unloads) == ([], [])
        state = await pod.version_state("support", 1)
        assert (state["state"], state["requests"]) == ("Proven", 1)


async def test_nothing_else_is_served_not_even_the_base(merged: MergedPod) -> None:
    pod = merged.pod
    async with pod.agent():
        merged.want_own()
        await pod.until_ready()
        for other in (pod.base.name, merged.stored.engine_name, "sibling"):
            answer = await pod.ask(other)
            assert (answer.status, answer.body["error"]["code"]) == (404, "model_not_found")
            assert answer.headers["X-Graft-Version"] == "none"
        async with pod.client.get(f"{pod.url}/v1/models") as response:
            [card] = (await response.json())["data"]
        assert (card["id"], card["root"], card["parent"]) == ("support", "support@v1", pod.base.name)
        async with pod.client.post(f"{pod.url}/v1/load_lora_adapter", json={"lora_name": "x"}) as response:
            assert response.status == 404


async def test_a_model_that_does_not_answer_as_its_manifest_says_never_makes_the_pod_ready(merged: MergedPod) -> None:
    pod = merged.pod
    pod.engine.weights = BASE_WEIGHTS
    async with pod.agent():
        merged.want_own()
        state = await pod.until_state("support", 1, "Refused")
        assert state["reason"] == "ProofFailed"
        assert not await pod.is_ready()
        assert (await pod.ask("support")).status == 503


async def test_an_engine_with_another_version_is_refused(merged: MergedPod) -> None:
    pod = merged.pod
    pod.engine.base_model = "support--v2-00000000"
    async with pod.agent():
        merged.want_own()
        state = await pod.until_state("support", 1, "Refused")
        assert "support--v2-00000000" in state["message"]
        assert not await pod.is_ready()


async def test_a_version_that_the_pod_was_not_made_for_is_refused(merged: MergedPod) -> None:
    pod = merged.pod
    other = pod.publisher.publish("support", servable="Merged")
    async with pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [other])))
        state = await pod.until_state("support", 2, "Refused")
        assert (state["reason"], await pod.is_ready()) == ("NotMergedHere", False)


async def test_an_engine_that_comes_back_is_proven_again_before_it_answers(merged: MergedPod) -> None:
    pod = merged.pod
    async with pod.agent():
        merged.want_own()
        await pod.until_ready()
        await pod.engine.crash()

        async def is_unready() -> bool:
            return not await pod.is_ready()

        await eventually(is_unready, what="the loss of readiness")
        pod.engine.weights = BASE_WEIGHTS
        await pod.engine.start()
        state = await pod.until_state("support", 1, "Refused")
        assert (state["reason"], await pod.is_ready()) == ("ProofFailed", False)


async def test_keys_are_asked_for(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-right\n")
    async with merged_pod(tmp_path, store, client, api_key_file=keys, api_port=free_port()) as merged:
        pod = merged.pod
        async with pod.agent():
            merged.want_own()
            await pod.until_ready()
            assert (await pod.ask("support")).status == 401
            assert (await pod.ask("support", headers={"Authorization": "Bearer sk-right"})).status == 200


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"GRAFT_MERGED_MANIFEST: .*version\.json holds no manifest"):
        MergedVersion(tmp_path / "version.json")
