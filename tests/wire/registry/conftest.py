"""Real S3 servers for the registry: moto always, versitygw where ``GRAFT_VERSITYGW`` names its binary."""

import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from graft_registry.config import RegistryConfig
from graft_registry.store import ObjectStore

VERSITYGW = os.environ.get("GRAFT_VERSITYGW")
SERVERS = ["moto", "versitygw"] if VERSITYGW is not None else ["moto"]
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
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _run_versitygw(directory: Path) -> Iterator[str]:
    binary = Path(VERSITYGW or "")
    if not binary.is_file():
        pytest.fail(f"GRAFT_VERSITYGW names {binary}, which is not there; build it or unset the variable")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    command: list[str | Path] = [binary, "--port", f"127.0.0.1:{port}", "--quiet", "posix", directory]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"versitygw doesn't listen on port {port} (exit code {process.poll()})")


@pytest.fixture(scope="session", params=SERVERS)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "moto":
        yield from _run_moto()
    else:
        yield from _run_versitygw(tmp_path_factory.mktemp("versitygw"))


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
