"""Kueue's release: installed with its own chart, which lies in its Go module, and taken away with nothing left."""

from __future__ import annotations

import json
from typing import Any

from graft_cluster import versions
from graft_cluster.addons.kueue.image import REPOSITORY
from graft_cluster.cache import Cache
from graft_cluster.kind.cluster import Cluster
from graft_cluster.programs import golang
from graft_cluster.steps import Step, StepFailed, Steps

NAME = "kueue"
NAMESPACE = "kueue-system"
GROUP = "kueue.x-k8s.io"
AGGREGATED = ("v1beta1.visibility.kueue.x-k8s.io", "v1beta2.visibility.kueue.x-k8s.io")
"""Answers of Kueue's own about its queues. The API server that can't list their kinds deletes no namespace at all."""
CONFIGURATION: dict[str, Any] = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    "leaderElection": {"leaderElect": False},
    # Jobs without a queue are nobody's business; those of other kinds would need CustomResourceDefinitions of theirs.
    "manageJobsWithoutQueueName": False,
    "integrations": {"frameworks": ["batch/job"]},
}
VALUES: dict[str, Any] = {
    "controllerManager": {
        "manager": {
            "image": {"repository": REPOSITORY, "tag": versions.KUEUE, "pullPolicy": "IfNotPresent"},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}},
        },
        "readinessProbe": {"initialDelaySeconds": 2},
    },
    "managerConfig": {"controllerManagerConfigYaml": json.dumps(CONFIGURATION)},
}


def install(cache: Cache, steps: Steps, cluster: Cluster) -> None:
    """Install Kueue, or upgrade it, and wait until it answers."""
    chart = golang.module_folder(cache, steps, golang.KUEUE) / "charts" / "kueue"
    where = ("--namespace", NAMESPACE, "--create-namespace", "--values", "-", "--wait", "--timeout", "5m")
    with steps.step("install Kueue") as step:
        cluster.helm(step, "upgrade", "--install", NAME, chart, *where, stdin=json.dumps(VALUES))
        cluster.kubectl(step, "delete", "apiservice", *AGGREGATED, "--ignore-not-found")


def remove(steps: Steps, cluster: Cluster) -> None:
    """Take Kueue away, and all that was in its queues.

    Its objects have finalizers that only Kueue takes away. It may be gone already, so they are taken away here.
    """
    with steps.step("remove Kueue") as step:
        cluster.helm(step, "uninstall", NAME, "--namespace", NAMESPACE, "--ignore-not-found")
        kinds = definitions(step, cluster)
        for kind in kinds:
            cluster.kubectl(step, "delete", kind, "--wait=false", "--ignore-not-found")
            release_objects(step, cluster, kind)
        for kind in kinds:
            cluster.kubectl(step, "wait", "--for=delete", kind, "--timeout=60s")
        cluster.kubectl(step, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


def definitions(step: Step, cluster: Cluster) -> list[str]:
    """Return the names of Kueue's CustomResourceDefinitions that are there, with their kind before them."""
    listed = cluster.read(step, "get", "customresourcedefinitions", "-o", "name").split()
    return [name for name in listed if name.endswith(f".{GROUP}")]


def release_objects(step: Step, cluster: Cluster, definition: str) -> None:
    """Take the finalizers off all objects of a kind."""
    kind = definition.rsplit("/", 1)[-1]
    listed = json.loads(cluster.read(step, "get", kind, "--all-namespaces", "-o", "json"))
    for item in listed["items"]:
        metadata = item["metadata"]
        where = ("--namespace", metadata["namespace"]) if "namespace" in metadata else ()
        none = json.dumps({"metadata": {"finalizers": None}})
        try:
            cluster.kubectl(step, "patch", kind, metadata["name"], *where, "--type=merge", f"--patch={none}")
        except StepFailed:
            # Kueue, on its way out, may have let it go in between.
            if cluster.read(step, "get", kind, metadata["name"], *where, "--ignore-not-found").strip():
                raise
