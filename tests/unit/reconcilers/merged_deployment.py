"""Deployments of merged models, as Kubernetes runs them: a rolling update that surges by one pod."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.reconcilers.cluster_in_memory import ClusterInMemory

from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_registry.digests import digest_of


def is_merged(body: dict[str, Any]) -> bool:
    """Whether the object is part of a merged model's serving."""
    return bool(body["metadata"]["labels"].get(labels.COMPONENT) == MERGED)


def run_merged_deployments(cluster: ClusterInMemory) -> None:
    """Go one step: make what is missing, let what was made answer, take away what has a successor that answers."""
    deployments = {body["metadata"]["name"]: body for body in cluster.of_kind("Deployment") if is_merged(body)}
    for deployment in deployments.values():
        _go_one_step(cluster, deployment)
    for pod in _merged_pods(cluster):
        if pod["metadata"]["ownerReferences"][0]["name"] not in deployments:
            cluster.remove(("Pod", pod["metadata"]["name"]))


def _go_one_step(cluster: ClusterInMemory, deployment: dict[str, Any]) -> None:
    name, replicas = deployment["metadata"]["name"], deployment["spec"]["replicas"]
    template = deployment["spec"]["template"]["metadata"]
    own = [pod for pod in _merged_pods(cluster) if pod["metadata"]["ownerReferences"][0]["name"] == name]
    current = [pod for pod in own if pod["metadata"]["annotations"] == template["annotations"]]
    for pod in current:
        if not is_answering(pod):
            pod["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
            return
    if len(current) < replicas:
        metadata = template | {"ownerReferences": [{"uid": deployment["metadata"]["uid"], "name": name}]}
        cluster.put("Pod", f"{name}-{digest_of(template)[7:13]}-{len(current)}", metadata=metadata, status={})
    outdated = [pod for pod in own if pod not in current]
    if len(own) > replicas and outdated:
        cluster.remove(("Pod", outdated[0]["metadata"]["name"]))


def answering(cluster: ClusterInMemory) -> list[str]:
    """Return the version annotation of every pod that answers."""
    return [pod["metadata"]["annotations"][labels.VERSION] for pod in _merged_pods(cluster) if is_answering(pod)]


def answers_as(cluster: ClusterInMemory, adapter: str) -> set[str]:
    """Return who answers requests at an adapter's merged model: ``v1``, or ``nobody`` where no pod is behind it."""
    name = naming.merged_name(adapter)
    if ("Service", name) not in cluster.objects:
        return {"nobody"}
    pods = [pod for pod in _merged_pods(cluster) if pod["metadata"]["ownerReferences"][0]["name"] == name]
    texts = [pod["metadata"]["annotations"][labels.VERSION] for pod in pods if is_answering(pod)]
    return {f"v{json.loads(text)['number']}" for text in texts} or {"nobody"}


def is_answering(pod: dict[str, Any]) -> bool:
    """Whether the pod is ready."""
    return bool(pod.get("status", {}).get("conditions"))


def _merged_pods(cluster: ClusterInMemory) -> list[dict[str, Any]]:
    return [body for body in cluster.of_kind("Pod") if is_merged(body)]
