"""Versions as OCI artifacts at a real registry, and back."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.unit.registry.builders import CONFIG, WEIGHTS, write_adapter
from tests.wire.exports.conftest import Exporter, contents, draft

from graft_registry.digests import sha256_digest
from graft_registry.documents import VersionVerdict, timestamp
from graft_registry.s3.store import ObjectStore
from graft_registry.sources.oci_artifact import pull, resolve
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry, StoredVersion


def stored_manifest(host: str, repository: str, tag: str) -> dict[str, Any]:
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers=accept)
    with urllib.request.urlopen(request) as answer:
        return dict(json.loads(answer.read()))


def blob(host: str, repository: str, digest: str) -> bytes:
    with urllib.request.urlopen(f"http://{host}/v2/{repository}/blobs/{digest}") as answer:
        return bytes(answer.read())


def test_a_version_comes_back_as_it_was(
    export: Exporter, version: StoredVersion, host: str, files: Path, tmp_path: Path
) -> None:
    code, message = export(f"oci://{host}/team/support:v1", "--number=1")
    assert (code, message["outcome"], message["digest"], message["number"]) == (0, "Exported", version.digest, 1)
    digest = message["location"].rpartition("@")[2]
    assert resolve(message["location"]) == digest
    assert pull(f"{host}/team/support:v1", tmp_path / "pulled") == digest
    held = contents(files)
    assert contents(tmp_path / "pulled") == {name: held[name] for name in (CONFIG, WEIGHTS)}
    layers = stored_manifest(host, "team/support", "v1")["layers"]
    stored = {layer["annotations"]["org.opencontainers.image.title"]: layer["digest"] for layer in layers}
    assert stored == {name: sha256_digest(data) for name, data in held.items()}


def test_the_artifact_says_what_it_is_without_a_download(export: Exporter, version: StoredVersion, host: str) -> None:
    export(f"oci://{host}/described/support:v1")
    found = stored_manifest(host, "described/support", "v1")
    assert found["artifactType"] == "application/vnd.graft.lora-adapter.v1"
    # The configuration is the version's own manifest, byte for byte.
    assert found["config"]["digest"] == version.digest
    assert blob(host, "described/support", version.digest) == version.manifest.to_bytes()
    assert {
        layer["annotations"]["org.opencontainers.image.title"]: layer["mediaType"] for layer in found["layers"]
    } == {
        "README.md": "application/vnd.cncf.model.doc.v1.raw",
        "adapter_config.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "adapter_model.safetensors": "application/vnd.cncf.model.weight.v1.raw",
        "report.html": "application/vnd.cncf.model.doc.v1.raw",
    }
    said = found["annotations"]
    assert said["dev.graft.lora.base.digest"] == version.manifest.base.digest
    assert said["dev.graft.lora.base.repository"] == "acme/tiny"
    assert (said["dev.graft.lora.rank"], said["dev.graft.lora.alpha"]) == ("4", "8")
    assert json.loads(said["dev.graft.lora.target-modules"]) == ["q_proj", "v_proj"]
    assert json.loads(said["dev.graft.scores"]) == {"baseEvalLoss": 2.0, "evalLoss": 0.5, "exactMatch": 0.75}


def test_the_same_version_is_the_same_artifact_everywhere(export: Exporter, host: str) -> None:
    places = (f"oci://{host}/a/support:v1", f"oci://{host}/b/other:latest", f"oci://{host}/a/support:v1")
    digests = {export(place)[1]["location"].rpartition("@")[2] for place in places}
    assert len(digests) == 1


def test_a_tag_is_not_moved_unless_that_is_asked_for(
    export: Exporter, store: ObjectStore, host: str, tmp_path: Path
) -> None:
    place = f"oci://{host}/moved/support:stable"
    first = export(place)[1]["location"]
    other = write_adapter(tmp_path / "other", fill=b"\x01")
    AdapterRegistry(store, "team-a", "support").publish(draft("another"), other)
    code, message = export(place)
    assert (code, message["reason"]) == (73, "Conflict")
    assert "move this one with --overwrite" in message["message"]
    assert f"{place}@{resolve(place)}" == first
    code, moved = export(place, "--overwrite")
    assert code == 0
    assert moved["location"] == f"{place}@{resolve(place)}" != first
    # What the tag stood for is still there by its digest.
    assert pull(first, tmp_path / "first")


def test_without_a_number_the_newest_that_was_not_found_bad_is_meant(
    export: Exporter, store: ObjectStore, version: StoredVersion, host: str, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other", fill=b"\x01")
    second = AdapterRegistry(store, "team-a", "support").publish(draft("another"), other)
    assert export(f"oci://{host}/newest/support:a")[1]["number"] == 2
    verdict = VersionVerdict(number=2, manifest_digest=second.digest, state="RolledBack", time=timestamp())
    VerdictRegistry(store, "team-a", "support").record(verdict)
    assert export(f"oci://{host}/newest/support:b")[1]["number"] == 1
    assert export(f"oci://{host}/newest/support:c", "--number=2")[1]["number"] == 2


def test_what_cannot_be_exported_says_why(export: Exporter, version: StoredVersion, host: str) -> None:
    for to, more, code, words in (
        (f"oci://{host}/team/support:v1", ("--number=9",), 66, "versions/00000009"),
        (f"oci://{host}/team/support:v1", ("--number=1", f"--digest=sha256:{'0' * 64}"), 66, "is corrupt"),
        (f"oci://{host}/team/support@{version.digest}", (), 65, "name a tag to push to"),
        (f"oci://{host}/Team/support:v1", (), 65, "did you mean team/support"),
        ("oci://127.0.0.1:1/team/support:v1", (), 68, "127.0.0.1:1"),
        ("s3://bucket/key", (), 64, "is none of oci://registry/repository:tag, hf://"),
    ):
        actual, message = export(to, *more)
        assert (actual, words in message["message"]) == (code, True), message
