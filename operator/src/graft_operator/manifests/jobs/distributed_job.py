"""What a training by several workers needs besides: numbered pods that find the first one by its name."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import TrainingPod
from graft_operator.manifests import labels, naming
from graft_operator.manifests.pods import scratch, variable

RENDEZVOUS_PORT: Final = 29400
"""Where the first pod waits for the others; the default of ``torchrun``."""

SHARED_MEMORY: Final = "shm"


def workers_document(pod: TrainingPod) -> dict[str, Any]:
    """Return the workers as the trainer reads them, with the number per pod decided."""
    return {
        "nodes": pod.workers.nodes,
        "processesPerNode": pod.processes_per_node,
        "sharding": pod.workers.sharding,
    }


def indexed(pod: TrainingPod) -> dict[str, Any]:
    """Return the part of a Job's spec that numbers its pods and wants all of them at once; nothing for a single pod."""
    nodes = pod.workers.nodes
    return {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes} if nodes > 1 else {}


def subdomain(adapter: LoraAdapter) -> dict[str, Any]:
    """Return the part of a pod's spec that gives numbered pods names in DNS."""
    if adapter.spec.pod.workers.nodes == 1:
        return {}
    return {"subdomain": naming.rendezvous_name(adapter.metadata.name)}


def rendezvous_variables(adapter: LoraAdapter, job_name: str) -> list[dict[str, Any]]:
    """Return where the pods of a Job meet: at the first one, whose name is the Job's with its number."""
    if adapter.spec.pod.workers.nodes == 1:
        return []
    host = f"{job_name}-0.{naming.rendezvous_name(adapter.metadata.name)}"
    return [variable("GRAFT_RENDEZVOUS", f"{host}:{RENDEZVOUS_PORT}")]


def rendezvous_services(adapter: LoraAdapter) -> tuple[dict[str, Any], ...]:
    """Return the headless Service that the names of an adapter's numbered pods need; none for single pods.

    One serves all Jobs of the adapter. Names are there before the pods are ready: they are never ready without them.
    """
    if adapter.spec.pod.workers.nodes == 1:
        return ()
    name = naming.rendezvous_name(adapter.metadata.name)
    metadata = labels.object_meta("LoraAdapter", adapter.metadata, name=name, component="training")
    spec = {
        "clusterIP": "None",
        "ipFamilyPolicy": naming.IP_FAMILIES,
        "publishNotReadyAddresses": True,
        "selector": {label: metadata["labels"][label] for label in (labels.OWNER_UID, labels.COMPONENT)},
        "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
    }
    return ({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec},)


def shared_memory(pod: TrainingPod) -> list[dict[str, Any]]:
    """Return the volume through which the workers of a pod exchange data; a container's own 64 MiB are too few."""
    return [scratch(SHARED_MEMORY, medium="Memory")] if pod.processes_per_node > 1 else []


def shared_memory_mounts(pod: TrainingPod) -> list[dict[str, Any]]:
    """Return the mounts of :func:`shared_memory`."""
    return [{"name": volume["name"], "mountPath": "/dev/shm"} for volume in shared_memory(pod)]  # noqa: S108
