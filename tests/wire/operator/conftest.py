from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from tests.wire.operator.api_server import ApiServer, api_server

from graft_operator.cluster import Cache, Cluster
from graft_operator.cluster.transport import Transport


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        yield running


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
async def cluster(server: ApiServer, cache: Cache) -> AsyncIterator[Cluster]:
    async with ApiClient(Configuration(host=server.url, api_key={"BearerToken": "bearer secret"})) as api:
        yield Cluster(Transport(api), identity="pod-1", cache=cache)
