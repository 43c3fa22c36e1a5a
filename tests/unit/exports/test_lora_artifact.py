"""The artifact of a version: always the same bytes, also by later releases."""

from __future__ import annotations

import json

from tests.builders import version

from graft_registry.documents import StoredFile
from graft_registry.exports.lora_artifact import artifact_of

MANIFEST = b'{"schema":"graft.dev/version/v1"}'
FILES = tuple(
    StoredFile(path=path, size=size, sha256=letter * 64)
    for path, size, letter in (
        ("adapter_config.json", 3, "a"),
        ("adapter_model.safetensors", 5, "b"),
        ("merged/model.safetensors", 7, "c"),
        ("report.html", 9, "d"),
    )
)
DIGEST = "sha256:1123b1607106cdacc2cfe59d74dc6d9656bb002f9876ab942adcb0afbec96457"


def test_a_version_s_artifact_never_changes() -> None:
    """A release that changes this digest lets every tag that was pushed before stand for something else."""
    assert artifact_of(version(7, files=FILES).manifest, MANIFEST).digest == DIGEST


def test_a_merged_model_stays_at_home() -> None:
    document = json.loads(artifact_of(version(7, files=FILES).manifest, MANIFEST).manifest)
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in document["layers"]]
    assert titles == ["adapter_config.json", "adapter_model.safetensors", "report.html"]


def test_every_annotation_is_text() -> None:
    document = json.loads(artifact_of(version(7, files=FILES).manifest, MANIFEST).manifest)
    assert all(isinstance(value, str) and value for value in document["annotations"].values())
    assert document["annotations"]["org.opencontainers.image.version"] == "7"
    # This base comes from a bucket, and no hub knows it.
    assert "dev.graft.lora.base.repository" not in document["annotations"]
