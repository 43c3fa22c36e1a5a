"""How a way to a cluster is found, and what is said where Docker can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft_cluster import ways
from graft_cluster.cache import Cache
from graft_cluster.ways import Way

DOCKER = """\
#!/bin/sh
case "$1" in
  info) exit 0 ;;
  image) test "$HAS" = "$3" ;;
  pull) test "$OFFERS" = "$3" || { echo "Error response from daemon: no such host" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name in ("GRAFT_USE_EXISTING", "GRAFT_CLUSTER_WAY", "GRAFT_NODE_IMAGE", "HAS", "OFFERS"):
        monkeypatch.delenv(name, raising=False)
    return Cache(tmp_path / "cache")


def test_docker_is_used_where_the_nodes_image_can_be_pulled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFERS", ways.PUBLIC_NODE_IMAGE)
    assert ways.choose(cache) is Way.DOCKER


def test_an_image_that_is_there_needs_no_network(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAS", ways.PUBLIC_NODE_IMAGE)
    assert ways.choose(cache) is Way.DOCKER


def test_a_mirror_can_be_named(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_NODE_IMAGE", "mirror.example.com/kindest/node:v1.37.0")
    monkeypatch.setenv("OFFERS", "mirror.example.com/kindest/node:v1.37.0")
    assert ways.choose(cache) is Way.DOCKER


def test_it_is_said_why_docker_is_not_used(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert ways.choose(cache) is Way.OWN
    said = capsys.readouterr().err
    assert "can't pull the nodes' image: Error response from daemon: no such host" in said
    assert "GRAFT_NODE_IMAGE names a mirror" in said


def test_the_nodes_image_is_the_very_one_that_kind_was_made_for() -> None:
    assert "@sha256:" in ways.PUBLIC_NODE_IMAGE
