"""What the operator knows of a registry in a real (mock) S3."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.builders import NAMESPACE, digest, version
from tests.unit.registry_in_memory import store_version

from graft_operator.artifacts import Artifacts, RegistryUnavailable
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.plan.known import BEING_LOOKED_UP, Known, Unknown
from graft_registry.config import RegistryConfig
from graft_registry.documents import Progress, VersionVerdict, timestamp
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore

RECIPE = version(1).manifest.recipe
T = TypeVar("T")


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


async def known(artifacts: Artifacts, ask: Callable[[], T]) -> T:
    """Ask until the answer is there; each time that something is told."""
    news = asyncio.Event()
    artifacts.on_news = lambda *_: news.set()
    async with asyncio.timeout(60):
        while (answer := ask()) in (None, BEING_LOOKED_UP):
            await news.wait()
            news.clear()
    return answer


async def test_versions_are_known_by_recipe_and_number(config: RegistryConfig) -> None:
    stored = version(3)
    store_version(ObjectStore(config), stored)
    async with Artifacts.connect(config) as artifacts:
        found: Any = await known(artifacts, lambda: artifacts.of_recipe(NAMESPACE, "support", RECIPE))
        assert found == Known(None)
        recipe = stored.manifest.recipe
        found = await known(artifacts, lambda: artifacts.of_recipe(NAMESPACE, "support", recipe))
        assert found.value.digest == stored.digest
        assert artifacts.version(NAMESPACE, "support", 3, stored.digest) == found
        assert await known(artifacts, lambda: artifacts.version(NAMESPACE, "support", 4)) == Known(None)


async def test_progress_is_followed(config: RegistryConfig) -> None:
    progress = Progress(recipe=RECIPE, state="Training", step=10, eta_seconds=1, updated_time=timestamp())
    layout, store = AdapterLayout(NAMESPACE, "support"), ObjectStore(config)
    store.put(layout.progress(RECIPE), progress.to_bytes())
    async with Artifacts.connect(config) as artifacts:

        def ask() -> Progress | None:
            return artifacts.progress(NAMESPACE, "support", RECIPE)

        assert await known(artifacts, ask) == progress
        told = asyncio.Event()
        artifacts.on_news = lambda *_: told.set()
        further = progress.model_copy(update={"step": 11})
        await asyncio.to_thread(store.put, layout.progress(RECIPE), further.to_bytes())
        async with asyncio.timeout(60):
            await told.wait()
        assert ask() == further


async def test_a_verdict_is_written_and_an_adapter_deleted(config: RegistryConfig) -> None:
    stored, store = version(1), ObjectStore(config)
    store_version(store, stored)
    store_version(store, version(1, adapter="support-2"))
    verdict = VersionVerdict(number=1, manifest_digest=stored.digest, state="RolledBack", time=timestamp())
    async with Artifacts.connect(config) as artifacts:
        await artifacts.record_verdict(NAMESPACE, "support", verdict)
        found = await known(artifacts, lambda: artifacts.verdicts(NAMESPACE, "support"))
        assert found == Known({1: verdict})
        await artifacts.delete_adapter(NAMESPACE, "support")
        assert [entry.key.split("/")[2] for entry in store.list("")] == ["support-2"]


async def test_a_deletion_stops_where_this_process_may_not_write_any_more(config: RegistryConfig) -> None:
    store = ObjectStore(config)
    for number in (1, 2, 3):
        store_version(store, version(number))
    looks: list[bool] = []

    def may_write() -> bool:
        looks.append(True)
        return len(looks) < 4  # the lease is lost while it is deleting

    async with Artifacts.connect(config) as artifacts:
        artifacts.fence_by(nullcontext, may_write)
        with pytest.raises(RegistryUnavailable):
            await artifacts.delete_adapter(NAMESPACE, "support")
    assert len(looks) == 4, "nothing more is asked for"
    assert 0 < len(list(store.list(""))) < 3, "the rest is another's to delete"


async def test_the_store_is_examined(config: RegistryConfig) -> None:
    async with Artifacts.connect(config) as artifacts:
        told = asyncio.Event()
        artifacts.on_news = lambda *_: told.set()
        artifacts.base(NAMESPACE, "tiny", digest("a base that asks"))
        async with asyncio.timeout(60):
            while isinstance(artifacts.store_report(), Unknown):
                await told.wait()
                told.clear()
        report = artifacts.store_report()
        assert isinstance(report, Known)
        assert report.value is not None
        assert report.value.conditional_writes
    assert list(ObjectStore(config).list("")) == []


async def test_a_missing_bucket_is_told_and_transient(config: RegistryConfig) -> None:
    async with Artifacts.connect(config.model_copy(update={"bucket": "no-such-bucket"})) as artifacts:
        trouble = await known(artifacts, lambda: artifacts.history(NAMESPACE, "support"))
        assert isinstance(trouble, Unknown)
        assert (trouble.reason, trouble.is_transient) == ("RegistryUnavailable", True)
        assert "NoSuchBucket" in trouble.message
        with pytest.raises(RegistryUnavailable, match="NoSuchBucket") as caught:
            await artifacts.delete_adapter(NAMESPACE, "support")
    assert isinstance(caught.value, TransientError)


async def test_a_slow_store_does_not_block_the_loop(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(self: ObjectStore, prefix: str) -> Iterator[Any]:
        answer.wait(60)
        return iter(())

    monkeypatch.setattr(ObjectStore, "list", slow)
    async with Artifacts.connect(config) as artifacts:
        assert artifacts.history(NAMESPACE, "support") == BEING_LOOKED_UP
        await asyncio.sleep(0)
        assert artifacts.history(NAMESPACE, "support") == BEING_LOOKED_UP
        answer.set()
        assert await known(artifacts, lambda: artifacts.history(NAMESPACE, "support")) == Known(())
