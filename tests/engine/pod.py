"""A bare engine in a pod: unmodified vLLM with the settings of Graft's, on files that every node shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demo import objects, release

from graft_cluster.kind.config import VOLUMES

READY_SECONDS = 300
"""Patience for an engine on a CPU, on a machine that does other things as well."""
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    **release.CPU_ENGINE_ENVIRONMENT,
}


def engine_pod(
    namespace: str,
    name: str,
    image: str,
    *,
    app: str,
    folder: str,
    arguments: Sequence[str],
    probe: Mapping[str, Any],
    also_at: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the pod, which sees ``folder`` of the nodes' volumes as ``/models``.

    Args:
        namespace: of the pod.
        name: of the pod.
        image: with vLLM.
        app: value of its label ``app``, by which a Service finds it.
        folder: below :data:`VOLUMES`.
        arguments: of vLLM, beside those that every engine on a CPU has; LoRA is enabled.
        probe: what its readiness is told by: the handler of a probe, such as ``httpGet``.
        also_at: other paths at which the pod sees the same folder, such as its path on this machine.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "engine",
                    "image": image,
                    "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                    "args": ["--enable-lora", *arguments, *objects.CPU_ENGINE_ARGUMENTS],
                    "env": [{"name": key, "value": value} for key, value in ENVIRONMENT.items()],
                    "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 60},
                    "volumeMounts": [
                        *({"name": "models", "mountPath": path, "readOnly": True} for path in ("/models", *also_at)),
                        {"name": "shm", "mountPath": "/dev/shm"},
                    ],
                }
            ],
            "volumes": [
                {"name": "models", "hostPath": {"path": f"{VOLUMES}/{folder}", "type": "Directory"}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }
