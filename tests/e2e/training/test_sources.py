"""Rows from a ConfigMap, and a base that stays on a PersistentVolumeClaim."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.cluster import Object
from tests.e2e.tenant import BASE, Tenant

from graft_cluster.kind.config import VOLUMES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
VOLUME = "graft-e2e-models"
"""Where every node of the local cluster shows ``volumes`` of the cache."""


@pytest.fixture
def claim(tenant: Tenant, models: Path) -> Iterator[str]:
    """Return a claim on a read-only volume with the bases on it."""
    folder = tenant.environment.cache / "volumes" / VOLUME
    shutil.rmtree(folder, ignore_errors=True)
    # Contents without modes: safetensors writes files that only their owner may read, and pods run as somebody else.
    shutil.copytree(models / "base-v1", folder / "base-v1", copy_function=shutil.copyfile)
    tenant.cluster.delete("persistentvolume", VOLUME)
    tenant.apply(*volume_and_claim(tenant.namespace))
    yield VOLUME
    tenant.cluster.delete("persistentvolume", VOLUME, "", "--wait=false")


def volume_and_claim(namespace: str) -> tuple[Object, Object]:
    common = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": VOLUME},
        "spec": common
        | {
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": f"{VOLUMES}/{VOLUME}", "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": VOLUME},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": VOLUME, "namespace": namespace},
        "spec": common | {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": VOLUME},
    }
    return volume, claim


def test_base_on_a_claim_and_rows_in_a_config_map(tenant: Tenant, claim: str, models: Path) -> None:
    rows = "".join((models / "data" / "topic.small.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:200])
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rows", "namespace": tenant.namespace},
        "data": {"train.jsonl": rows},
    }
    base = tenant.base()
    base["spec"]["source"] = {"persistentVolumeClaim": {"claimName": claim, "path": "base-v1"}}
    dataset = {"configMap": {"name": "rows", "key": "train.jsonl"}}
    tenant.apply(base, tenant.adapter("topic", dataset=dataset, serving={"mode": "None"}))
    digest = tenant.wait_resolved()

    # The dataset isn't there yet: that is waited for, not given up on.
    tenant.wait_for_adapter("topic", waits_for_dataset, "waiting for its dataset", 60)
    tenant.apply(config_map)
    tenant.wait_settled("topic")

    [manifest] = tenant.versions("topic")
    assert manifest["base"]["digest"] == digest
    assert manifest["dataset"]["uri"] == "configMap:rows/train.jsonl"
    assert manifest["dataset"]["rows"] + manifest["dataset"]["evalRows"] == 200
    assert [key for key in tenant.bucket.keys(f"{tenant.namespace}/bases/{BASE}/") if "/blobs/" in key] == []


def waits_for_dataset(adapter: Object) -> bool:
    conditions = adapter.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Reconciling" and entry["reason"] == "DatasetNotFound" for entry in conditions)
