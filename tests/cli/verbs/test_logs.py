"""logs: through the API server from a node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import NAMESPACE, Cluster, manifest
from tests.cli.verbs.kubelet import HOST, kubelet
from tests.control_plane import ADAPTERS, PODS
from tests.unit.cli import objects

LOGS = {
    "trainer-0/trainer": "step 1\nstep 2",
    "agent-0/agent": "loaded support--v6\n",
    "agent-1/agent": "loaded support--v6\n",
    "agent-1/engine": "ready\n",
}
NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"


@pytest.fixture
def node(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """The cluster with a node that runs a trainer and two serving pods."""
    with kubelet(tmp_path, LOGS) as port:
        cluster.request("POST", NODES, {"metadata": {"name": "node-1"}})
        address = {"addresses": [{"type": "InternalIP", "address": HOST}]}
        endpoints = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        cluster.request("PATCH", f"{NODES}/node-1/status", {"status": address | endpoints}, MERGE)
        job = {"batch.kubernetes.io/job-name": objects.training().job}
        run(cluster, "trainer-0", job, "trainer")
        body = cluster.request("GET", f"/apis/graft.dev/v1alpha1/namespaces/{NAMESPACE}/basemodels/tiny")
        digest = objects.adapter().status.serving.target
        assert digest is not None
        serving = {
            "graft.dev/owner-uid": body["metadata"]["uid"],
            "graft.dev/component": "serving",
            "graft.dev/base-digest": digest.base_digest.removeprefix("sha256:")[:8],
        }
        for name in ("agent-0", "agent-1"):
            run(cluster, name, serving, "agent", "engine")
        yield cluster
        cluster.request("DELETE", f"{NODES}/node-1")


def run(cluster: Cluster, name: str, labels: dict[str, str], *containers: str) -> None:
    listed = [{"name": container, "image": "none"} for container in containers]
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    spec = {"nodeName": "node-1", "containers": listed}
    cluster.put(PODS, {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}})


def test_a_training_that_runs_is_what_is_shown(node: Cluster) -> None:
    trains = objects.adapter(status={"training": objects.training()})
    node.put(ADAPTERS, manifest("LoraAdapter", trains.raw))
    shown = node.graft("logs", "support", "-f")
    assert (shown.code, shown.out) == (0, "step 1\nstep 2\n")
    assert "trainer-0 (Running)" in shown.err


def test_else_it_is_what_serves_each_line_with_its_pod(node: Cluster) -> None:
    lines = ["[agent-0] loaded support--v6", "[agent-1] loaded support--v6"]
    assert sorted(node.graft("logs", "support").out.splitlines()) == lines
    assert sorted(node.graft("logs", "support", "-f").out.splitlines()) == lines


def test_a_container_that_is_not_there_is_told_from_those_that_are(node: Cluster) -> None:
    refused = node.graft("logs", "support", "-c", "sidecar")
    assert (refused.code, "take one of agent, engine" in refused.err) == (1, True)


def test_no_pods_is_an_answer(cluster: Cluster) -> None:
    refused = cluster.graft("logs", "support", "--of", "training")
    assert (refused.code, "there are no pods" in refused.err) == (1, True)
