"""Deployments of merged models, as Kubernetes runs them: a rolling update that surges by one pod."""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

from tests.agent_documents import state_of
from tests.unit.reconcilers.cluster_in_memory import ClusterInMemory

from graft_operator.agents.state import AgentState
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.reconcilers.snapshots.serving_pods import deployment_of
from graft_registry.digests import digest_of
from graft_serving.wanted.documents import WantedSet, parse_wanted_set

Refused = Set[tuple[str, int]]
"""(adapter, number) of the versions that no pod takes."""


def is_merged(body: dict[str, Any]) -> bool:
    """Whether the object is part of a merged model's serving."""
    return bool(body["metadata"]["labels"].get(labels.COMPONENT) == MERGED)


def run_merged_deployments(cluster: ClusterInMemory, refused: Refused = frozenset()) -> None:
    """Go one step: make what is missing, let what was made answer, take away what has a successor that answers."""
    deployments = {body["metadata"]["name"]: body for body in cluster.of_kind("Deployment") if is_merged(body)}
    for deployment in deployments.values():
        _go_one_step(cluster, deployment, refused)
    for pod in _merged_pods(cluster):
        if deployment_of(pod) not in deployments:
            cluster.remove(("Pod", pod["metadata"]["name"]))


def _go_one_step(cluster: ClusterInMemory, deployment: dict[str, Any], refused: Refused) -> None:
    name, replicas = deployment["metadata"]["name"], deployment["spec"]["replicas"]
    template, spec = deployment["spec"]["template"]["metadata"], deployment["spec"]["template"]["spec"]
    own = [pod for pod in _merged_pods(cluster) if deployment_of(pod) == name]
    current = [pod for pod in own if pod["metadata"]["annotations"] == template["annotations"]]
    for pod in current:
        if not is_answering(pod) and not is_refused(pod, refused):
            pod["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
            return
    if len(current) < replicas:
        owner = {
            "uid": deployment["metadata"]["uid"],
            "kind": "ReplicaSet",
            "name": f"{name}-5d4f8",
            "controller": True,
        }
        metadata = template | {"ownerReferences": [owner]}
        taken = {pod["metadata"]["name"] for pod in own}
        names = (f"{name}-{digest_of(template)[7:13]}-{number}" for number in range(len(own) + 1))
        cluster.put("Pod", next(free for free in names if free not in taken), metadata=metadata, spec=spec, status={})
    outdated = [pod for pod in own if pod not in current]
    # Kubernetes takes those away first that do not answer.
    outdated.sort(key=is_answering)
    surplus = len(own) > replicas
    if outdated and surplus and (not is_answering(outdated[0]) or any(map(is_answering, current))):
        cluster.remove(("Pod", outdated[0]["metadata"]["name"]))


def merged_state(cluster: ClusterInMemory, name: str, refused: Refused) -> AgentState | None:
    """Return what the agent of a merged model's pod says (docs/contracts.md §7); None where there is no such pod."""
    pod = cluster.objects.get(("Pod", name))
    if pod is None or not is_merged(pod):
        return None
    wanted = _wanted(pod)
    [adapter] = wanted.adapters
    [key] = adapter.version_keys
    ready = is_answering(pod)
    state = "Proven" if ready else "Refused" if is_refused(pod, refused) else "Loading"
    version = {"number": key.number, "manifestDigest": key.manifest_digest, "state": state}
    reason = {"reason": "ProofFailed", "message": "it answers otherwise"} if state == "Refused" else {}
    active = [{"number": share.version.number, "weight": share.weight} for share in adapter.desired_route]
    told = {"name": adapter.name, "active": active if ready else [], "versions": [version | reason]}
    return state_of(
        {
            "schema": "graft.dev/agent/v1",
            "pod": name,
            "revision": str(ready),
            "engine": {"state": "Ready" if ready else "Starting"},
            "ready": ready,
            "adapters": [told],
        }
    )


def is_refused(pod: dict[str, Any], refused: Refused) -> bool:
    """Whether the pod's agent refuses the version that it was made for."""
    return any((key.adapter, key.number) in refused for item in _wanted(pod).adapters for key in item.version_keys)


def answering(cluster: ClusterInMemory) -> list[str]:
    """Return the version annotation of every pod that answers."""
    return [pod["metadata"]["annotations"][labels.VERSION] for pod in _merged_pods(cluster) if is_answering(pod)]


def answers_as(cluster: ClusterInMemory, adapter: str) -> set[str]:
    """Return who answers requests at an adapter's merged model: ``v1``, or ``nobody`` where no pod is behind it."""
    name = naming.merged_name(adapter)
    if ("Service", name) not in cluster.objects:
        return {"nobody"}
    pods = [pod for pod in _merged_pods(cluster) if deployment_of(pod) == name]
    texts = [pod["metadata"]["annotations"][labels.VERSION] for pod in pods if is_answering(pod)]
    return {f"v{json.loads(text)['number']}" for text in texts} or {"nobody"}


def is_answering(pod: dict[str, Any]) -> bool:
    """Whether the pod is ready."""
    return bool(pod.get("status", {}).get("conditions"))


def _wanted(pod: dict[str, Any]) -> WantedSet:
    return parse_wanted_set(pod["metadata"]["annotations"][labels.WANTED].encode())


def _merged_pods(cluster: ClusterInMemory) -> list[dict[str, Any]]:
    return [body for body in cluster.of_kind("Pod") if is_merged(body)]
