"""doctor: what is there, and what this person may do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.cli.conftest import Cluster

LEASES = "/apis/coordination.k8s.io/v1/namespaces/graft-system/leases"
READER = {"apiGroups": ["graft.dev"], "resources": ["basemodels", "loraadapters"], "verbs": ["get", "list"]}


def checks(cluster: Cluster, *arguments: str, **options: Any) -> dict[str, Any]:
    found = cluster.graft("doctor", "-o", "json", *arguments, **options).document["checks"]
    return {check["name"]: check for check in found}


@pytest.fixture
def lease(cluster: Cluster) -> None:
    renewed = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {"holderIdentity": "operator-1", "renewTime": renewed, "leaseDurationSeconds": 15}
    found = cluster.request("GET", LEASES)["items"]
    body = {"metadata": {"name": "graft-operator"}, "spec": spec}
    if found:
        cluster.request("PATCH", f"{LEASES}/graft-operator", {"spec": spec}, "application/merge-patch+json")
    else:
        cluster.request("POST", LEASES, body)


def test_a_cluster_without_an_operator_is_found_out(cluster: Cluster) -> None:
    done = cluster.graft("doctor", "--lease", "nobody")
    assert done.code == 1
    assert "✗ operator (Lease graft-system/nobody)  there is no such lease" in done.out


@pytest.mark.usefixtures("lease")
def test_everything_is_there_for_an_administrator(cluster: Cluster) -> None:
    done = cluster.graft("doctor")
    assert done.code == 0, done.out
    found = checks(cluster)
    assert found["CRD loraadapters.graft.dev"]["message"] == "serves v1alpha1"
    assert found["operator (Lease graft-system/graft-operator)"]["message"] == "held by operator-1"
    assert found["may rollback"]["verdict"] == "ok"


@pytest.mark.usefixtures("lease")
def test_a_reader_is_told_what_is_missing_and_what_can_t_be_seen(cluster: Cluster) -> None:
    found = checks(cluster, kubeconfig=cluster.person("looker", READER))
    assert found["may status"]["verdict"] == "ok"
    assert found["may pin"]["message"] == "you may not patch loraadapters.graft.dev"
    assert "list pods" in found["may logs"]["message"]
    assert found["operator"]["verdict"] == found["GPUs"]["verdict"] == found["CRDs"]["verdict"] == "warning"


@pytest.mark.usefixtures("lease")
def test_gpus_of_nodes_are_counted(cluster: Cluster) -> None:
    assert checks(cluster)["GPUs"]["message"] == "no node offers one"
    cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": "gpu-1"}})
    amounts = {"cpu": "8", "nvidia.com/gpu": "4"}
    body = {"status": {"allocatable": amounts, "capacity": amounts}}
    cluster.request("PATCH", "/api/v1/nodes/gpu-1/status", body, "application/merge-patch+json")
    try:
        assert checks(cluster)["GPUs"]["message"] == "4 on 1 nodes (gpu-1 4)"
    finally:
        cluster.request("DELETE", "/api/v1/nodes/gpu-1")
