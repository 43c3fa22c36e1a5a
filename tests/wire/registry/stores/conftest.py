"""A real S3 server, a CA, and names below ``s3.test`` that lead to this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from tests.versitygw import PROGRAM, versitygw
from tests.wire.registry.conftest import ACCESS_KEY, SECRET_KEY
from tests.wire.registry.server_thread import serving
from tests.wire.registry.stores.certificates import Certificates, certificates
from tests.wire.registry.stores.store_kinds import StoreKind
from tests.wire.registry.stores.store_proxy import DOMAIN, StoreProxy, Upstream

from graft_registry.s3 import store as store_module
from graft_registry.s3 import transfers

OpenStore = Callable[[StoreKind], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The real server behind all of them."""
    if PROGRAM is None:
        pytest.skip("GRAFT_VERSITYGW names no server")
    with versitygw(tmp_path_factory.mktemp("stores"), access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield Upstream(url, ACCESS_KEY, SECRET_KEY)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The CA and the certificate of the stores."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``s3.test`` and whatever is below it be this machine."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        here = isinstance(name, str) and (name == DOMAIN or name.endswith(f".{DOMAIN}"))
        return resolve("127.0.0.1" if here else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send files beyond 5 MiB in parts."""
    limit = 5 << 20
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", limit)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=limit, multipart_chunksize=limit))


@pytest.fixture
def open_store(gateway: Upstream, authority: Certificates, _names: None, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """Open a store of one kind, whose CA is trusted; yields its URL."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))

    @contextmanager
    def opened(kind: StoreKind) -> Iterator[str]:
        proxy = StoreProxy(gateway, kind, authority.server())
        with serving(proxy):
            yield proxy.url

    return opened


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
