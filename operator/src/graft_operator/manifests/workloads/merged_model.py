"""What serves an adapter whose ``serving.mode`` is Merged: a Deployment of its own, on a model that holds the adapter.

The pods run the base's engine, with its image, arguments, resources and placement, without an agent: there is nothing
to load and no alias to move. A new version is a new pod template, and a rolling update that takes no pod away before
its successor has answered.
"""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import labels, naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import (
    container,
    pod_spec,
    registry_credentials,
    registry_env,
    resources_of,
    scratch,
)
from graft_operator.manifests.workloads.disruption import disruption_budget
from graft_operator.manifests.workloads.engine import chosen_arguments, engine_process
from graft_operator.manifests.workloads.serving_workload import (
    DRAIN_SECONDS,
    GRACE_SECONDS,
    START_SECONDS,
    api_service,
    rolling_deployment,
)

MERGED: Final = "merged"
"""Component of these objects, and the folder of a version that holds the model (docs/contracts.md §3)."""
VERSION_DIR: Final = "/model/version"
PROBE_SECONDS: Final = 5

FIRST_TOKEN: Final = """
import json, sys, urllib.request
body = json.dumps({"model": sys.argv[1], "prompt": "1", "max_tokens": 1}).encode()
request = urllib.request.Request(sys.argv[2], body, {"Content-Type": "application/json"})
assert json.load(urllib.request.urlopen(request, timeout=60))["choices"]
""".strip()
"""Asks the engine for one token: one that listens, and even says that it is healthy, may still fail at its first."""


def merged_model_manifests(
    adapter: LoraAdapter, base: BaseModel, version: ServedVersion, platform: Platform
) -> list[dict[str, Any]]:
    """Return Service, PodDisruptionBudget and Deployment, in the order in which they are needed."""
    metadata = labels.object_meta(
        "LoraAdapter", adapter.metadata, name=naming.merged_name(adapter.metadata.name), component=MERGED
    )
    selector = {labels.OWNER_UID: adapter.metadata.uid, labels.COMPONENT: MERGED}
    return [
        api_service(metadata, selector),
        disruption_budget(metadata, selector),
        _deployment(metadata, selector, base, merged_pod(adapter, base, version, platform), version),
    ]


def _deployment(
    metadata: dict[str, Any], selector: dict[str, str], base: BaseModel, pod: dict[str, Any], version: ServedVersion
) -> dict[str, Any]:
    annotations = metadata["annotations"] | {labels.VERSION: json.dumps(version.to_wire(), sort_keys=True)}
    template = {"metadata": {"labels": metadata["labels"], "annotations": annotations}, "spec": pod}
    return rolling_deployment(metadata, base.spec.serving.replicas, selector, template)


def merged_pod(adapter: LoraAdapter, base: BaseModel, version: ServedVersion, platform: Platform) -> dict[str, Any]:
    """Return the pod: an init container brings the version, verified, and the engine serves what is merged in it."""
    return pod_spec(
        base.spec.serving,
        automountServiceAccountToken=False,
        serviceAccountName=adapter.spec.pod.service_account_name,
        terminationGracePeriodSeconds=GRACE_SECONDS,
        initContainers=[_fetch_version_container(adapter, version, platform)],
        containers=[_engine_container(adapter, base, platform)],
        volumes=[scratch("tmp"), scratch("model"), scratch("shm", medium="Memory", sizeLimit="2Gi")],
    )


def _fetch_version_container(adapter: LoraAdapter, version: ServedVersion, platform: Platform) -> dict[str, Any]:
    arguments = {
        "namespace": adapter.metadata.namespace,
        "adapter": adapter.metadata.name,
        "number": str(version.number),
        "digest": version.digest,
        "destination": VERSION_DIR,
    }
    return container(
        "fetch-version",
        platform.registry_image,
        platform,
        args=["fetch-version", *(f"--{name}={value}" for name, value in arguments.items())],
        env=registry_env(platform),
        envFrom=registry_credentials(platform),
        volumeMounts=[{"name": "model", "mountPath": "/model"}],
        resources=resources_of(platform.fetch_resources),
    )


def _engine_container(adapter: LoraAdapter, base: BaseModel, platform: Platform) -> dict[str, Any]:
    """Return the engine. It loads no adapters at runtime, so none of its routes changes anything."""
    name, port = adapter.metadata.name, naming.API_PORT
    arguments = [
        f"--model={VERSION_DIR}/{MERGED}",
        f"--served-model-name={name}",
        "--host=0.0.0.0",
        f"--port={port}",
        *chosen_arguments(base, platform),
    ]
    question = ["python3", "-c", FIRST_TOKEN, name, f"http://127.0.0.1:{port}/v1/completions"]
    health = {"httpGet": {"path": "/health", "port": "api"}, "timeoutSeconds": 5}
    return container(
        "engine",
        platform=platform,
        **engine_process(base, platform, arguments),
        ports=[{"name": "api", "containerPort": port}],
        startupProbe={
            "exec": {"command": question},
            "timeoutSeconds": 60,
            "periodSeconds": PROBE_SECONDS,
            "failureThreshold": START_SECONDS // PROBE_SECONDS,
        },
        readinessProbe={**health, "periodSeconds": PROBE_SECONDS, "failureThreshold": 3},
        livenessProbe={**health, "periodSeconds": 10, "failureThreshold": 6},
        lifecycle={"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        volumeMounts=[
            {"name": "model", "mountPath": "/model", "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - vLLM's workers share memory
        ],
    )
