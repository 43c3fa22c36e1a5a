"""A real registry where ``GRAFT_DISTRIBUTION`` names its binary, and an adapter to push to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.distribution import PROGRAM, distribution
from tests.unit.registry.builders import CONFIG, WEIGHTS, write_adapter
from tests.wire.oci.odd_registry import OddRegistry
from tests.wire.oci.pushing import Files, Pusher
from tests.wire.registry.server_thread import serving

from graft_registry.oci import connection

_repositories = itertools.count()


@pytest.fixture(autouse=True)
def _no_logins_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "SOURCE_DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("GRAFT_DISTRIBUTION names no registry (make test-oci)")
    with distribution(tmp_path_factory.mktemp("distribution")) as address:
        yield address


@pytest.fixture
def pusher(host: str) -> Pusher:
    """A repository of its own."""
    return Pusher(host, f"team/adapter-{next(_repositories)}")


@pytest.fixture
def adapter(tmp_path: Path) -> Files:
    """The two files that every adapter has."""
    written = write_adapter(tmp_path / "source", fill=b"\x07")
    return {name: (written / name).read_bytes() for name in (CONFIG, WEIGHTS)}


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddRegistry]:
    """A registry that answers as it is told to, and is asked again at once."""
    monkeypatch.setattr(connection, "_RETRIES", connection._RETRIES.new(backoff_factor=0))
    server = OddRegistry()
    with serving(server):
        yield server
