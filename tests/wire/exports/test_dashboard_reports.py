"""Reports of the dashboard, with the registry's program as it really runs."""

from __future__ import annotations

import pytest
from tests.unit.cli.objects import version as told

from graft_cli.client import FakeGraft
from graft_cli.commands.dashboard import reports_of
from graft_cli.decisions.stored.references import VersionReference, referenced_version
from graft_cli.errors import GraftError, NotFound
from graft_registry.config import RegistryConfig
from graft_registry.versions import StoredVersion


def test_a_report_is_brought_and_is_that_of_the_version_that_status_tells(
    version: StoredVersion, config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {"versions": [told(1, digest=version.digest).to_wire(), told(2).to_wire()]}
    body = {"kind": "LoraAdapter", "metadata": {"name": "support", "namespace": "team-a"}, "spec": {}, "status": status}
    adapter = FakeGraft([body]).adapter("team-a", "support")
    monkeypatch.setenv("GRAFT_REGISTRY", config.model_dump_json())
    bring = reports_of(None)
    assert bring is not None
    assert bring("team-a", "support", referenced_version(adapter, 1)) == b"<!doctype html><title>support</title>"
    with pytest.raises(NotFound):
        bring("team-a", "support", referenced_version(adapter, 2))
    other = FakeGraft([body | {"status": {"versions": [told(1).to_wire()]}}]).adapter("team-a", "support")
    with pytest.raises(GraftError, match="is corrupt"):
        bring("team-a", "support", referenced_version(other, 1))


def test_where_reports_lie_has_to_be_said(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_REGISTRY", raising=False)
    assert reports_of(None) is None
    elsewhere = reports_of("s3://nowhere/prefix")
    assert elsewhere is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(config.endpoint))
    with pytest.raises(GraftError, match="NoSuchBucket"):
        elsewhere("team-a", "support", VersionReference(1))
