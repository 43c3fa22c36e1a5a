"""The facts of the cluster are read as they were written, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo.environment import PROGRAMS, EnvironmentIncompleteError, read_environment


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    images = tmp_path / "images.json"
    images.write_text(json.dumps({program: f"registry/{program}:1" for program in PROGRAMS}))
    (tmp_path / "cluster.env").write_text(
        f"export KUBECONFIG='{tmp_path}/with space'\nexport GRAFT_IMAGES={images}\n"
        "export GRAFT_S3_ENDPOINT=http://node:30070\nexport GRAFT_S3_ENDPOINT_IN_CLUSTER=http://s3:7070\n"
        "export GRAFT_S3_BUCKET=graft\nexport GRAFT_S3_ACCESS_KEY=key\nexport GRAFT_S3_SECRET_KEY=secret\n"
    )
    return tmp_path


def test_facts_win_over_what_a_shell_has_left_behind(cache: Path) -> None:
    environment = read_environment({"GRAFT_CACHE": str(cache), "KUBECONFIG": "/elsewhere", "GRAFT_BIN": "/bin"})
    assert environment.kubeconfig == f"{cache}/with space"
    assert environment.programs == "/bin"
    assert environment.storage.endpoint_in_cluster == "http://s3:7070"
    assert environment.images["agent"] == "registry/agent:1"


def test_missing_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentIncompleteError, match="GRAFT_S3_ENDPOINT is not known"):
        read_environment({"GRAFT_CACHE": str(tmp_path)})


def test_missing_image_is_named(cache: Path) -> None:
    (cache / "images.json").write_text(json.dumps({"operator": "x"}))
    with pytest.raises(EnvironmentIncompleteError, match="lacks trainer, agent, registry, engine"):
        read_environment({"GRAFT_CACHE": str(cache)})
