"""One pod for each test: the agent, a fake engine beside it, and a registry on a real S3 protocol server."""

import asyncio
import contextlib
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.serving.fake_engine import FakeEngine, answer_text, answer_token_ids
from tests.serving.published import NAMESPACE, Publisher, base_manifest

from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseManifest
from graft_registry.store import ObjectStore
from graft_registry.versions import StoredVersion
from graft_serving.agent import Agent
from graft_serving.settings import Settings


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def eventually(
    condition: Callable[[], Awaitable[Any]], seconds: float = 10.0, *, what: str = "the condition"
) -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        if result := await condition():
            return result
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.01)


@dataclass
class Pod:
    """What a test does to a pod, and sees of it."""

    settings: Settings
    store: ObjectStore
    engine: FakeEngine
    publisher: Publisher
    base: BaseManifest
    client: aiohttp.ClientSession
    wanted: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.peer_port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.admin_port}"

    def want(self, document: dict[str, Any]) -> bytes:
        raw = json.dumps(document).encode()
        self.wanted.put_nowait(raw)
        return raw

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        async def wanted_sets() -> AsyncIterator[bytes]:
            while True:
                yield await self.wanted.get()

        async with (
            Agent.composed(self.settings, store=self.store, wanted_sets=wanted_sets()) as agent,
            agent.running(),
        ):
            yield agent

    async def state(self) -> dict[str, Any]:
        async with self.client.get(f"{self.admin_url}/state") as response:
            return dict(await response.json())

    async def until_routed(self, adapter: str, *numbers: int) -> None:
        async def is_routed() -> bool:
            found = next((found for found in (await self.state())["adapters"] if found["name"] == adapter), None)
            return found is not None and [share["number"] for share in found["active"]] == list(numbers)

        await eventually(is_routed, what=f"{adapter} routed to {numbers}")

    def folder_of(self, stored: StoredVersion) -> Path:
        return self.settings.adapters_dir / stored.digest.removeprefix("sha256:")

    async def until_evicted(self, stored: StoredVersion) -> None:
        async def is_gone() -> bool:
            return not await asyncio.to_thread(self.folder_of(stored).exists)

        await eventually(is_gone, what=f"eviction of {stored.engine_name}")

    async def is_ready(self) -> bool:
        async with self.client.get(f"{self.admin_url}/readyz") as response:
            return response.status == 200

    async def until_ready(self) -> None:
        await eventually(self.is_ready, what="readiness")

    async def version_state(self, adapter: str, number: int) -> dict[str, Any]:
        for found in (await self.state())["adapters"]:
            for version in found["versions"]:
                if (found["name"], version["number"]) == (adapter, number):
                    return dict(version)
        return {"state": None}

    async def until_state(self, adapter: str, number: int, state: str | None) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            version = await self.version_state(adapter, number)
            return version if version["state"] == state else None

        return dict(await eventually(reached, what=f"{adapter}@v{number} in state {state}"))

    async def ask(self, model: str, prompt: str = "hello", **fields: Any) -> "Answer":
        headers = fields.pop("headers", {})
        body = {"model": model, "prompt": prompt, "max_tokens": 6, **fields}
        async with self.client.post(f"{self.url}/v1/completions", json=body, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.json())

    def expected(self, adapter: str, number: int, prompt: str = "hello") -> str:
        return answer_text(answer_token_ids(self.publisher.weights[adapter, number], prompt, 6))

    async def until_answered_by(self, model: str, version: str) -> "Answer":
        async def answered() -> "Answer | None":
            answer = await self.ask(model)
            return answer if answer.headers.get("X-Graft-Version") == version else None

        found: Answer = await eventually(answered, what=f"{model} answered by {version}")
        return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.body["choices"][0]["text"])


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def bucket(s3_url: str) -> str:
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket="graft")
    return "graft"


@pytest.fixture
def registry(s3_url: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> RegistryConfig:
    """A registry that is empty at the start of each test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return RegistryConfig(endpoint=s3_url, bucket=bucket, prefix=str(uuid.uuid4()))


@pytest.fixture
def store(registry: RegistryConfig) -> ObjectStore:
    return ObjectStore(registry)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@contextlib.asynccontextmanager
async def pod_named(
    name: str, folder: Path, store: ObjectStore, client: aiohttp.ClientSession, publisher: Publisher | None = None
) -> AsyncIterator[Pod]:
    """A pod whose engine runs and whose agent is yet to be started, by `async with pod.agent()`."""
    base = base_manifest()
    manifest = folder / "base" / ".graft" / "base.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(base.to_bytes())
    engine = FakeEngine(free_port())
    await engine.start()
    settings = Settings(
        namespace=NAMESPACE,
        pod=name,
        wanted_file=folder / "unused.json",
        engine_url=engine.url,
        base_dir=folder / "base",
        adapters_dir=folder / "adapters",
        max_rank=16,
        listen="127.0.0.1",
        api_port=free_port(),
        peer_port=free_port(),
        admin_port=free_port(),
        drain_seconds=0,
        shutdown_seconds=5,
        engine_poll_seconds=0.2,
        retry_seconds=0.1,
        cache_bytes=0,
    )
    yield Pod(settings, store, engine, publisher or Publisher(store, folder / "published", base), base, client)
    assert engine.deaths == []
    await engine.crash()


@pytest.fixture
async def pod(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> AsyncIterator[Pod]:
    """One pod, for the tests that are about a single one."""
    async with pod_named("tiny-0", tmp_path, store, client) as one:
        yield one
