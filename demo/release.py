"""Installing Graft with its Helm chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from demo.cluster import Cluster
from demo.environment import PROGRAMS, Environment
from demo.objects import REGISTRY_SECRET, namespace, registry_secret

RELEASE = "graft"
NAMESPACE = "graft-system"
CPU_ENGINE_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCHDYNAMO_DISABLE": "1",
}
"""vLLM on a CPU: one GiB of KV cache, and one thread each, so that engines and trainers can share a small machine.

Without multiprocessing the model is in the engine's own process, as on one GPU, instead of in a third that imports
everything once more: vLLM starts that one on CPUs to choose its threads, of which there is one here. Without Dynamo
nothing is compiled: the image has no C++ compiler, and the first request with `logprobs` would end the engine.
"""
CHART = Path(__file__).resolve().parents[1] / "charts" / "graft"


def chart_values(environment: Environment) -> dict[str, Any]:
    """Return the chart's values for these images and this S3 store."""
    storage = environment.storage
    return {
        "registry": {
            "endpoint": storage.endpoint_in_cluster,
            "bucket": storage.bucket,
            "region": storage.region,
            "existingSecret": REGISTRY_SECRET,
            "tenantSecretName": REGISTRY_SECRET,
        },
        "images": {program: image_values(environment.images[program]) for program in PROGRAMS},
        "engine": {"env": CPU_ENGINE_ENVIRONMENT},
    }


def image_values(reference: str) -> dict[str, str]:
    """Split an image reference into the chart's repository, tag and digest."""
    name, _, digest = reference.partition("@")
    repository, separator, tag = name.rpartition(":")
    if not separator or "/" in tag:  # a colon before the last slash belongs to a port
        repository, tag = name, ""
    return {"repository": repository, "tag": tag, "digest": digest}


def install(cluster: Cluster, environment: Environment, **values: Any) -> None:
    """Install or upgrade the release, with further values of the chart, and wait until the operator is ready."""
    cluster.apply(namespace(NAMESPACE))
    cluster.apply(registry_secret(NAMESPACE, environment.storage))
    cluster.run(
        *("helm", "upgrade", "--install", RELEASE, str(CHART)),
        *("--namespace", NAMESPACE, "--values", "-", "--wait", "--timeout", "5m"),
        stdin=json.dumps(chart_values(environment) | values),
        timeout=330,
    )


def uninstall(cluster: Cluster) -> None:
    """Remove the release; the CustomResourceDefinitions stay, and with them every object."""
    cluster.run("helm", "uninstall", RELEASE, "-n", NAMESPACE, "--ignore-not-found", "--wait", timeout=330)
