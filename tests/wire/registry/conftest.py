"""Real S3 servers for the registry: moto always, versitygw where ``GRAFT_VERSITYGW`` names its binary."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.unit.registry.builders import write_adapter, write_model
from tests.versitygw import PROGRAM, versitygw
from tests.wire.registry.container import Container
from tests.wire.registry.hub import HubServer
from tests.wire.registry.server_thread import serving
from werkzeug.serving import make_server

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore

SERVERS = ["moto"] if PROGRAM is None else ["moto", "versitygw"]
ACCESS_KEY, SECRET_KEY = "access-key", "secret-key"


@pytest.fixture(scope="session", autouse=True)
def _credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


class OneRequestAtATime:
    """WSGI middleware: moto checks a condition and writes in two steps, a real store in one."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with self._lock:
            return list(self._application(environ, start_response))


def _run_moto() -> Iterator[str]:
    application = OneRequestAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    with serving(server):
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="session", params=SERVERS)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "moto":
        yield from _run_moto()
        return
    folder = tmp_path_factory.mktemp("versitygw")
    with versitygw(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield url


@pytest.fixture(scope="session")
def administrator(endpoint: str) -> Any:
    """A client that makes buckets."""
    return ObjectStore(RegistryConfig(endpoint=endpoint, bucket="none"))._client


@pytest.fixture
def config(endpoint: str, administrator: Any) -> RegistryConfig:
    """A fresh bucket."""
    config = RegistryConfig(endpoint=endpoint, bucket=f"graft-{uuid.uuid4().hex[:12]}", prefix="registry")
    administrator.create_bucket(Bucket=config.bucket)
    return config


@pytest.fixture
def store(config: RegistryConfig) -> ObjectStore:
    return ObjectStore(config)


@pytest.fixture
def bucket(config: RegistryConfig) -> ObjectStore:
    """Another bucket, with models in it."""
    store = ObjectStore(config.model_copy(update={"bucket": f"models-{uuid.uuid4().hex[:12]}", "prefix": ""}))
    store._client.create_bucket(Bucket=store.config.bucket)
    return store


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    with serving(server):
        yield server


@pytest.fixture
def container(config: RegistryConfig, tmp_path: Path) -> Container:
    (tmp_path / "container").mkdir()
    return Container(config, tmp_path / "container")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A base's files."""
    return write_model(tmp_path / "model")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter's files."""
    return write_adapter(tmp_path / "adapter")
