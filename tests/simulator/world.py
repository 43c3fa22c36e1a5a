"""The simulator as a whole, and the world that it is put into: API server, etcd, S3."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from tests.control_plane import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    ApiClient,
    ControlPlane,
    Kind,
    etcd_and_api_server,
)
from tests.simulator.agent_server import AgentServer
from tests.simulator.jobs import Jobs
from tests.simulator.publishing import Publisher
from tests.simulator.serving import Serving
from tests.versitygw import versitygw

from graft_registry.config import Credentials, RegistryConfig

MANAGED: Final = "app.kubernetes.io/managed-by=graft"
CREDENTIALS: Final = Credentials("simulator", "simulator-secret")
Take = Callable[[str, dict[str, Any]], Awaitable[None]]


class Simulator:
    """Watches what the operator makes, and plays everybody else."""

    def __init__(
        self, client: ApiClient, publisher: Publisher, *, train_seconds: float = 0.2, load_seconds: float = 0.1
    ) -> None:
        self._client = client
        self._server = AgentServer()
        self.publisher = publisher
        self.jobs = Jobs(client, publisher, seconds=train_seconds)
        self.serving = Serving(client, self._server, load_seconds=load_seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Play until the block ends."""
        await self._server.start()
        watches: list[tuple[Kind, Take]] = [
            (CONFIG_MAPS, self.serving.observe_wanted),
            (DEPLOYMENTS, self.serving.observe_deployment),
            (JOBS, self.jobs.observe),
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                playing = [tasks.create_task(self._follow(kind, take)) for kind, take in watches]
                yield
                for task in playing:
                    task.cancel()
        finally:
            self.jobs.stop()
            await self._server.stop()

    @property
    def errors(self) -> list[str]:
        """What went wrong in the simulator itself: a measurement with any is worth nothing."""
        return self.jobs.errors + self.serving.errors

    @property
    def agent_requests(self) -> int:
        """How often agents have been asked."""
        return self._server.requests

    async def _follow(self, kind: Kind, take: Take) -> None:
        async with aclosing(self._client.watch(kind, labels=MANAGED)) as events:
            async for event, body in events:
                await take(event, body)


@dataclass(frozen=True, slots=True)
class World:
    """Everything but the operator."""

    plane: ControlPlane
    client: ApiClient
    simulator: Simulator
    registry: RegistryConfig
    """The S3 server itself; what is measured or disturbed reaches it through a proxy."""
    folder: Path
    """What the S3 server serves: `bucket/key` are folders and files."""


@asynccontextmanager
async def world(*, train_seconds: float = 0.2, load_seconds: float = 0.1) -> AsyncIterator[World]:
    """Start everything on the loopback interface; end it when the block does."""
    with tempfile.TemporaryDirectory(prefix="graft-world-") as name:
        folder = Path(name)
        (folder / "s3").mkdir()
        access_key, secret_key = CREDENTIALS.access_key, CREDENTIALS.secret_key
        with versitygw(folder / "s3", access_key=access_key, secret_key=secret_key) as endpoint:
            registry = RegistryConfig(endpoint=endpoint, bucket="graft")
            make_bucket(registry)
            publisher = Publisher(registry, CREDENTIALS, folder / "files")
            async with etcd_and_api_server() as plane, plane.client() as client:
                simulator = Simulator(client, publisher, train_seconds=train_seconds, load_seconds=load_seconds)
                async with simulator.running():
                    yield World(plane, client, simulator, registry, folder / "s3")


def make_bucket(registry: RegistryConfig) -> None:
    """Create the bucket."""
    boto3.client(
        "s3",
        endpoint_url=registry.endpoint,
        region_name=registry.region,
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key,
    ).create_bucket(Bucket=registry.bucket)
