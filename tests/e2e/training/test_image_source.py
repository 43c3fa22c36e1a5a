"""A base in an OCI image: mounted by the cluster, copied into the registry, or refused in the node's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo.cluster import Object, condition, holds
from demo.environment import Environment
from tests.e2e.tenant import BASE, Tenant
from tests.wire.oci.pushing import Pusher, digest, tar, zipped

from graft_registry.models.fingerprint import identify

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
REPOSITORY = "models/tiny"
FOLDER = "models"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
IMPORT_SECONDS = 180.0


@pytest.fixture(scope="module")
def image(environment: Environment, models: Path) -> str:
    """Push an image with the base in a folder, as a Dockerfile would make it; return its reference by digest."""
    host = environment.images["registry"].partition("/")[0]
    pusher = Pusher(host, REPOSITORY)
    files = {file.name: file.read_bytes() for file in (models / "base-v1").iterdir() if file.is_file()}
    layers = [tar({"etc/hostname": b"image\n"}), tar(files, prefix=f"{FOLDER}/")]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    pushed = [pusher.layer(zipped(layer), LAYER) for layer in layers]
    named = pusher.artifact(pushed, config=(json.dumps(config).encode(), CONFIG))
    return f"{host}/{REPOSITORY}@{named}"


@pytest.fixture(scope="module", autouse=True)
def restricted(tenant: Tenant) -> None:
    """Have the namespace hold its pods to the strictest of Kubernetes' own standards."""
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    tenant.cluster.kubectl("label", "namespace", tenant.namespace, enforce, "--overwrite")


def base_in(tenant: Tenant, reference: str, path: str = "") -> Object:
    base = tenant.base()
    base["spec"]["source"] = {"image": {"reference": reference, "path": path}}
    return base


def test_an_image_that_cannot_be_pulled_is_told_with_the_nodes_words(tenant: Tenant, image: str) -> None:
    nowhere = f"{image.partition('/')[0]}/{REPOSITORY}:missing"
    tenant.apply(base_in(tenant, nowhere))
    base = tenant.wait_for_base(pull_has_failed, "the pull's failure told", IMPORT_SECONDS)
    message = condition(base, "Resolved")["message"]
    assert nowhere in message
    assert "spec.source.image.reference" in message


def pull_has_failed(base: Object) -> bool:
    return bool(condition(base, "Resolved").get("reason") == "ImagePullFailed")


def test_a_folder_that_was_not_named_is_told(tenant: Tenant, image: str) -> None:
    tenant.apply(base_in(tenant, image))
    base = tenant.wait_for_base(lambda seen: holds(seen, "Stalled"), "stalled", IMPORT_SECONDS)
    assert condition(base, "Stalled")["reason"] == "SourceNotFound"
    assert f"config.json is in {FOLDER}" in condition(base, "Stalled")["message"]


def test_the_base_is_copied_and_known_by_its_files(tenant: Tenant, image: str, models: Path) -> None:
    tenant.apply(base_in(tenant, image, FOLDER))
    assert tenant.wait_resolved() == identify(models / "base-v1").digest
    base = tenant.cluster.get("basemodels.graft.dev", BASE, tenant.namespace)
    assert base is not None
    assert base["status"]["resolved"]["revision"] == image.partition("@")[2]
    blobs = [key for key in tenant.bucket.keys(f"{tenant.namespace}/bases/{BASE}/") if "/blobs/" in key]
    assert len(blobs) == len(identify(models / "base-v1").files)
