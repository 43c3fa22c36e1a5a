"""An artifact as the source of an import: known by the digest of its files, as the same files anywhere else are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.registry.builders import CONFIG, WEIGHTS
from tests.wire.oci.pushing import Files, Pusher
from tests.wire.oci.test_forms import oras_1_2

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of, sha256_digest
from graft_registry.documents import AdapterSource
from graft_registry.sources.adapter_origins import AdapterContent, fetch_adapter, resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

FIELD = "spec.source.oci.image"
UNUSED = RegistryConfig(bucket="none")


def of(image: str) -> AdapterSource:
    return AdapterSource.model_validate({"oci": {"image": image}})


def resolved(image: str, workspace: Path) -> AdapterContent:
    return resolve_adapter(of(image), SourceAccess(), UNUSED, workspace=workspace)


def test_an_artifact_is_the_files_that_it_holds(pusher: Pusher, adapter: Files, tmp_path: Path) -> None:
    oras_1_2(pusher, adapter)
    image = f"{pusher.host}/{pusher.repository}:v1"
    found = resolved(image, tmp_path)
    assert found.files == (CONFIG, WEIGHTS)
    assert found.digest == digest_of([[name, sha256_digest(adapter[name])[7:]] for name in (CONFIG, WEIGHTS)])
    assert found.revision is not None
    assert fetch_adapter(of(image), SourceAccess(), UNUSED, tmp_path / "fetched") == found
    assert {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()} == adapter


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("HOST/team/nothing:v1", SourceProblem.NOT_FOUND),
        ("HOST/Team/UPPER:v1", SourceProblem.INVALID),
        ("127.0.0.1:9/team/away:v1", SourceProblem.ADAPTER_UNAVAILABLE),
    ],
)
def test_an_artifact_that_cannot_be_had_says_why(host: str, image: str, problem: SourceProblem, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as raised:
        resolved(image.replace("HOST", host), tmp_path)
    assert (raised.value.reason, raised.value.field) == (problem, FIELD)
