"""Where an adapter comes from that was trained elsewhere: what the operator writes and pods read, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, digest, imported_adapter, resolved_base

from graft_operator.api.adapter_source import SourceStatus
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.jobs.adapter_source import location_digest, location_document
from graft_operator.manifests.jobs.resolve_job import resolve_job_manifest
from graft_operator.manifests.jobs.training_job import run_document, training_job_manifest
from graft_registry.__main__ import FOUND_VARIABLE
from graft_registry.documents import AdapterSource, FoundBefore, ImportedFrom
from graft_registry.oci.docker_config import find_login
from graft_registry.oci.layers import LARGEST_ARTIFACT_BYTES
from graft_registry.sources.adapter_sizes import LARGEST_WEIGHTS_BYTES

SOURCES: dict[str, dict[str, Any]] = {
    "a bucket": {"s3": {"uri": "s3://models/support/"}},
    "a claim": {"s3": None, "persistentVolumeClaim": {"claimName": "models", "path": "adapters/support"}},
    "the root of a claim": {"s3": None, "persistentVolumeClaim": {"claimName": "models"}},
    "a hub": {"s3": None, "huggingFace": {"repo": "team/support"}},
    "a folder on a mirror": {
        "s3": None,
        "huggingFace": {"repo": "team/support", "revision": "v2", "path": "final", "endpoint": "http://hub.lan"},
    },
    "an artefact": {"s3": None, "oci": {"image": "ghcr.io/team/support:v3"}},
}


def asked(source: dict[str, Any]) -> dict[str, Any]:
    """Return what the Job that looks at a source is asked."""
    subject = imported_adapter(source=source)
    assert subject.spec.source is not None
    manifest = resolve_job_manifest(subject, subject.spec.source, PLATFORM)
    environment = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    found: dict[str, Any] = json.loads(
        next(item["value"] for item in environment if item["name"] == "GRAFT_ADAPTER_SOURCE")
    )
    return found


@pytest.mark.parametrize("case", SOURCES)
def test_a_version_is_known_again_by_the_source_that_it_names(case: str) -> None:
    document = asked(SOURCES[case])
    recorded = ImportedFrom(source=AdapterSource.model_validate(document), digest=digest("content")).to_dict()["source"]
    assert location_digest(recorded) == location_digest(document)


def test_each_source_is_another() -> None:
    assert len({location_digest(asked(source)) for source in SOURCES.values()}) == len(SOURCES)


def test_the_mount_is_where_the_pod_is_told_to_look() -> None:
    subject = imported_adapter(source=SOURCES["a claim"])
    assert subject.spec.source is not None
    pod = resolve_job_manifest(subject, subject.spec.source, PLATFORM)["spec"]["template"]["spec"]
    directory = location_document(subject.spec.source)["directory"]["path"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert directory == f"{mounts['adapter']['mountPath']}/adapters/support"
    assert mounts["adapter"]["readOnly"]


def test_a_look_has_room_for_what_it_may_write_and_for_no_more_than_that() -> None:
    subject = imported_adapter(source=SOURCES["an artefact"])
    assert subject.spec.source is not None
    pod = resolve_job_manifest(subject, subject.spec.source, PLATFORM)["spec"]["template"]["spec"]
    (tmp,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "tmp"]
    limit = int(tmp["sizeLimit"].removesuffix("Gi")) << 30
    assert max(LARGEST_ARTIFACT_BYTES, LARGEST_WEIGHTS_BYTES) < limit <= LARGEST_ARTIFACT_BYTES + (2 << 30)


LOGIN = {"s3": None, "oci": {"image": "ghcr.io/team/support:v3", "pullSecretRef": {"name": "pull"}}}


def test_the_login_of_a_registry_is_where_its_client_looks(tmp_path: Path) -> None:
    subject = imported_adapter(source=LOGIN)
    assert subject.spec.source is not None
    pod = resolve_job_manifest(subject, subject.spec.source, PLATFORM)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "pull-secret"]
    assert environ["SOURCE_DOCKER_CONFIG"] == mount["mountPath"]
    assert mount["readOnly"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "pull-secret"]
    assert volume["secret"]["secretName"] == "pull"
    # What the kubelet makes of a Secret of type kubernetes.io/dockerconfigjson there.
    (tmp_path / ".dockerconfigjson").write_text('{"auths": {"ghcr.io": {"username": "ann", "password": "x"}}}')
    found = find_login("ghcr.io", "team/support", {**environ, "SOURCE_DOCKER_CONFIG": str(tmp_path)})
    assert found is not None
    assert found.username == "ann"


def test_a_login_is_mounted_by_what_reads_the_source_alone() -> None:
    with_login, trained = imported_adapter(source=LOGIN), adapter(source=LOGIN)
    assert with_login.spec.source is not None
    base = resolved_base()
    imports = run_of(with_login, base, {"source": location_document(with_login.spec.source), "digest": None})
    assert "pull-secret" in json.dumps(training_job_manifest(with_login, base, "uid", imports, PLATFORM))
    assert "pull-secret" not in json.dumps(training_job_manifest(trained, base, "uid", run_of(trained, base), PLATFORM))


def run_of(subject: LoraAdapter, base: ResolvedBase, source: dict[str, Any] | None = None) -> dict[str, Any]:
    return run_document(
        subject,
        base,
        recipe=digest("recipe"),
        reason="Imported" if source else "SpecChanged",
        dataset_digest=None,
        platform=PLATFORM,
        adapter_source=source,
    )


def test_a_look_is_told_what_the_last_one_found() -> None:
    subject = imported_adapter(source=SOURCES["an artefact"])
    assert subject.spec.source is not None
    status = SourceStatus(source_digest=digest("spec"), digest=digest("content"), revision=digest("manifest"))
    known = subject.model_copy(update={"status": subject.status.model_copy(update={"source": status})})
    pod = resolve_job_manifest(known, subject.spec.source, PLATFORM)["spec"]["template"]["spec"]
    (told,) = [item["value"] for item in pod["containers"][0]["env"] if item["name"] == FOUND_VARIABLE]
    assert FoundBefore.model_validate_json(told) == FoundBefore(revision=digest("manifest"), digest=digest("content"))
