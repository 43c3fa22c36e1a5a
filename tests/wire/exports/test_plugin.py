"""``kubectl graft export``, with the registry's program as it really runs, beside a cluster in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.cli.objects import version as told

from graft_cli.client import FakeGraft
from graft_cli.commands import options
from graft_cli.commands.export import export
from graft_cli.errors import GraftError, NotFound
from graft_registry.config import RegistryConfig
from graft_registry.versions import StoredVersion


def cluster(monkeypatch: pytest.MonkeyPatch, **status: Any) -> None:
    body = {"kind": "LoraAdapter", "metadata": {"name": "support", "namespace": "team-a"}, "spec": {}, "status": status}
    monkeypatch.setattr(options, "connect", lambda **_: FakeGraft([body]))


def run(*arguments: str) -> Any:
    command = ["support", "--namespace=team-a", *arguments]
    return CliRunner().invoke(export, command, standalone_mode=False, catch_exceptions=False)


def test_the_served_version_is_brought(
    version: StoredVersion, config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = told(1, digest=version.digest).to_wire()
    cluster(monkeypatch, servedVersion=1, versions=[known])
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(config.endpoint))
    monkeypatch.setenv("GRAFT_REGISTRY", json.dumps({"bucket": "another"}))
    result = run(f"--to=dir:{tmp_path / 'out'}", f"--registry=s3://{config.bucket}/{config.prefix}")
    assert result.return_value is None
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert f"version 1 of support is dir:{tmp_path / 'out'}" in result.output + (result.stderr or "")


def test_a_version_that_is_another_than_status_tells_is_refused(
    version: StoredVersion, config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, servedVersion=1, versions=[told(1).to_wire()])
    monkeypatch.setenv("GRAFT_REGISTRY", config.model_dump_json())
    with pytest.raises(NotFound, match="is corrupt") as caught:
        run(f"--to=dir:{tmp_path / 'out'}")
    assert "is --registry the registry of this cluster?" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_what_the_program_says_is_the_plugin_s_error(
    version: StoredVersion, config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, servedVersion=1)
    monkeypatch.setenv("GRAFT_REGISTRY", config.model_dump_json())
    with pytest.raises(GraftError, match="is none of oci://"):
        run("--to=s3://bucket/key")
    with pytest.raises(GraftError, match="GRAFT_REGISTRY is not valid"):
        run(f"--to=dir:{tmp_path / 'out'}", "--registry={}")
