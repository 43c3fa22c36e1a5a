"""The Kubernetes objects of the demo. Pure builders: nothing is applied here."""

from __future__ import annotations

from typing import Any

from demo.environment import ObjectStorage

Object = dict[str, Any]
API_VERSION = "graft.dev/v1alpha1"
REGISTRY_SECRET = "graft-registry"

CPU_ENGINE_ARGUMENTS = ("--dtype=float32", "--enforce-eager")
"""vLLM on a CPU: exact arithmetic, and no compilation. On a GPU leave both away."""


def namespace(name: str) -> Object:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def registry_secret(namespace: str, storage: ObjectStorage) -> Object:
    """Return the Secret with the S3 credentials of a namespace; all of it becomes the environment of its pods."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": REGISTRY_SECRET, "namespace": namespace},
        "stringData": {
            "AWS_ACCESS_KEY_ID": storage.access_key,
            "AWS_SECRET_ACCESS_KEY": storage.secret_key,
        },
    }


def base_model(
    namespace: str, name: str, source: Object, *, replicas: int = 1, serving: Object | None = None
) -> Object:
    """Return a BaseModel that a CPU can serve; ``serving`` adds to its serving settings."""
    return {
        "apiVersion": API_VERSION,
        "kind": "BaseModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "source": source,
            "serving": {
                "replicas": replicas,
                "maxLoadedAdapters": 8,
                "maxActiveAdapters": 2,
                "maxRank": 32,
                "maxModelLength": 256,
                "engineArgs": list(CPU_ENGINE_ARGUMENTS),
                "resources": {"requests": {"cpu": "100m", "memory": "2Gi"}},
                **(serving or {}),
            },
        },
    }


def lora_adapter(namespace: str, name: str, base: str, dataset: Object, settings: Object) -> Object:
    """Return a LoraAdapter; ``settings`` are further fields of its spec, such as lora and training."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LoraAdapter",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "baseModelRef": {"name": base},
            "dataset": dataset,
            "pod": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
            **settings,
        },
    }


def client_pod(namespace: str, name: str, image: str) -> Object:
    """Return a pod that does nothing by itself: programs are run in it to talk to Services from inside the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "command": ["python3", "-c", "import signal; signal.pause()"],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
