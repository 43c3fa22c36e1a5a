"""The async facade over a registry in a real (mock) S3."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from graft_operator.artifacts import Artifacts, Corrupt, Forbidden, NotFound, RegistryUnavailable
from graft_operator.engine.controller import TransientError
from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseSource, Progress, S3Source, VersionManifest, timestamp
from graft_registry.layout import AdapterLayout
from graft_registry.store import ObjectStore

RECIPE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def config(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> RegistryConfig:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = f"graft-{uuid4()}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return RegistryConfig(endpoint=endpoint, bucket=bucket)


def manifest(number: int, recipe: str = RECIPE) -> VersionManifest:
    fields: dict[str, Any] = {
        "namespace": "team-a",
        "adapter": "support",
        "number": number,
        "recipe": recipe,
        "reason": "SpecChanged",
        "uid": "u",
        "generation": 1,
        "base": {"name": "tiny", "revision": "r", "digest": OTHER, "source": {"s3": {"uri": "s3://models/tiny"}}},
        "dataset": {"uri": "s3://data/x.jsonl", "digest": OTHER, "rows": 3},
        "method": "LoRA",
        "trainedOn": "float32",
        "servable": "MultiAdapter",
        "hyperparameters": {},
        "seed": 1,
        "shape": {"rank": 8, "alpha": 16, "targetModules": ["q_proj"], "trainableParameters": 1, "allParameters": 2},
        "libraries": {},
        "files": [],
        "createdTime": timestamp(),
    }
    return VersionManifest.model_validate(fields)


def store_version(store: ObjectStore, number: int, recipe: str = RECIPE) -> None:
    store.put(AdapterLayout("team-a", "support").manifest(number), manifest(number, recipe).to_bytes())


async def test_a_version_is_found_by_its_recipe_and_read_by_its_number(config: RegistryConfig) -> None:
    store_version(ObjectStore(config), 3)
    artifacts = Artifacts(config)
    assert await artifacts.find_version("team-a", "support", OTHER) is None
    found = await artifacts.find_version("team-a", "support", RECIPE)
    assert found is not None
    assert found.manifest.number == 3
    assert await artifacts.read_version("team-a", "support", 3, found.digest) == found
    assert await artifacts.version_numbers("team-a", "support") == (3,)
    with pytest.raises(NotFound):
        await artifacts.read_version("team-a", "support", 4)
    with pytest.raises(Corrupt):
        await artifacts.read_version("team-a", "support", 3, OTHER)


async def test_a_manifest_known_by_digest_is_read_once_until_its_adapter_is_deleted(config: RegistryConfig) -> None:
    store = ObjectStore(config)
    store_version(store, 1)
    artifacts = Artifacts(config)
    digest = (await artifacts.read_version("team-a", "support", 1)).digest
    known = await artifacts.read_version("team-a", "support", 1, digest)
    store.delete(AdapterLayout("team-a", "support").manifest(1))
    assert await artifacts.read_version("team-a", "support", 1, digest) is known
    await artifacts.delete_adapter("team-a", "support")
    with pytest.raises(NotFound):
        await artifacts.read_version("team-a", "support", 1, digest)


async def test_a_deleted_adapter_leaves_nothing(config: RegistryConfig) -> None:
    store = ObjectStore(config)
    store_version(store, 1)
    store_version(store, 2, OTHER)
    artifacts = Artifacts(config)
    await artifacts.delete_version("team-a", "support", 1)
    assert await artifacts.version_numbers("team-a", "support") == (2,)
    await artifacts.delete_adapter("team-a", "support")
    assert list(store.list("team-a/")) == []


async def test_progress_and_bases_that_are_not_there_are_none(config: RegistryConfig) -> None:
    artifacts = Artifacts(config)
    assert await artifacts.progress("team-a", "support", RECIPE) is None
    source = BaseSource(s3=S3Source(uri="s3://models/tiny"))
    assert await artifacts.resolved_base("team-a", "tiny", source) is None
    with pytest.raises(NotFound):
        await artifacts.base("team-a", "tiny", OTHER)


async def test_progress_is_read(config: RegistryConfig) -> None:
    progress = Progress(recipe=RECIPE, state="Training", step=10, max_steps=96, updated_time=timestamp())
    ObjectStore(config).put(AdapterLayout("team-a", "support").progress(RECIPE), progress.to_bytes())
    assert await Artifacts(config).progress("team-a", "support", RECIPE) == progress


async def test_the_bucket_is_probed_for_conditional_writes(config: RegistryConfig) -> None:
    artifacts = Artifacts(config)
    assert await artifacts.honours_conditional_writes() is True
    assert await artifacts.honours_conditional_writes() is True
    assert list(ObjectStore(config).list("")) == []


async def test_a_bucket_that_may_not_be_written_to_is_tried_once(
    config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def refuse(store: ObjectStore) -> bool:
        tries.append(store)
        raise Forbidden("AccessDenied")

    monkeypatch.setattr(ObjectStore, "probe_conditional_writes", refuse)
    artifacts = Artifacts(config)
    assert [await artifacts.honours_conditional_writes() for _ in range(3)] == [None] * 3
    assert len(tries) == 1


async def test_a_missing_bucket_is_unavailable_and_transient(config: RegistryConfig) -> None:
    artifacts = Artifacts(config.model_copy(update={"bucket": "no-such-bucket"}))
    with pytest.raises(RegistryUnavailable, match="NoSuchBucket") as caught:
        await artifacts.version_numbers("team-a", "support")
    assert isinstance(caught.value, TransientError)


async def test_a_slow_store_does_not_block_the_loop(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(self: ObjectStore, prefix: str) -> Iterator[Any]:
        answer.wait(5)
        return iter(())

    monkeypatch.setattr(ObjectStore, "list", slow)
    asking = asyncio.create_task(Artifacts(config).version_numbers("team-a", "support"))
    await asyncio.sleep(0.05)
    assert not asking.done()
    answer.set()
    assert await asking == ()
