"""What serves an adapter whose ``serving.mode`` is Merged: a Deployment of its own, on a model that holds the adapter.

The pods run the base's engine, with its image, arguments, resources and placement, behind the same agent, which proves
that the model answers as the version's manifest says. There is nothing to load and no alias to move: a new version is a
new pod template, and a rolling update that takes no pod away before its successor has answered.
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
    pod_metadata,
    pod_spec,
    registry_credentials,
    registry_env,
    resources_of,
    scratch,
    spread,
    variable,
)
from graft_operator.manifests.workloads.access import (
    API_TOKEN_MOUNT,
    PEER_TOKEN_MOUNT,
    api_token_volume,
    peer_audience,
    peer_environment,
    peer_token_volume,
)
from graft_operator.manifests.workloads.agent import agent_environment, agent_manifest, api_key_volumes
from graft_operator.manifests.workloads.disruption import disruption_budget
from graft_operator.manifests.workloads.engine import (
    chosen_arguments,
    engine_process,
    engine_sidecar,
    engine_volumes,
    model_arguments,
)
from graft_operator.manifests.workloads.network_policy import network_policy
from graft_operator.manifests.workloads.serving_workload import GRACE_SECONDS, api_service, rolling_deployment
from graft_registry.documents import engine_name

MERGED: Final = "merged"
"""Component of these objects, and the folder of a version that holds the model (docs/contracts.md §3)."""
VERSION_DIR: Final = "/model/version"
MANIFEST_FILE: Final = "/model/version.json"
WANTED_DIR: Final = "/etc/graft/wanted"
WANTED_FILE: Final = "wanted.json"
DEFAULT_ACCOUNT: Final = "default"
"""Of every namespace, for pods that name none."""
MODEL_MOUNT: Final[dict[str, Any]] = {"name": "model", "mountPath": "/model", "readOnly": True}


def merged_model_manifests(
    adapter: LoraAdapter, base: BaseModel, version: ServedVersion, platform: Platform
) -> list[dict[str, Any]]:
    """Return Service, PodDisruptionBudget, NetworkPolicy and Deployment, in the order in which they are needed."""
    metadata = labels.object_meta(
        "LoraAdapter", adapter.metadata, name=naming.merged_name(adapter.metadata.name), component=MERGED
    )
    selector, access = labels.selector(adapter.metadata, MERGED), platform.network_access
    return [
        api_service(metadata, selector),
        disruption_budget(metadata, selector),
        *([network_policy(metadata, selector, access, has_peers=False)] if access else []),
        _deployment(metadata, selector, adapter, base, version, platform),
    ]


def _deployment(
    metadata: dict[str, Any],
    selector: dict[str, str],
    adapter: LoraAdapter,
    base: BaseModel,
    version: ServedVersion,
    platform: Platform,
) -> dict[str, Any]:
    annotations = metadata["annotations"] | {
        labels.VERSION: json.dumps(version.to_wire(), sort_keys=True),
        labels.WANTED: json.dumps(wanted_set(adapter, base, version), sort_keys=True),
    }
    template = {
        "metadata": pod_metadata(metadata | {"annotations": annotations}, base.spec.serving, platform),
        "spec": merged_pod(adapter, base, version, platform),
    }
    return rolling_deployment(metadata, base.spec.serving.replicas, selector, template)


def wanted_set(adapter: LoraAdapter, base: BaseModel, version: ServedVersion) -> dict[str, Any]:
    """Return what the agent is to serve (docs/contracts.md §6): the one version, and never another."""
    return {
        "schema": "graft.dev/wanted/v1",
        "base": {"name": base.metadata.name, "digest": version.base_digest},
        "adapters": [
            {
                "name": adapter.metadata.name,
                "versions": [{"number": version.number, "manifestDigest": version.digest}],
                "route": [{"number": version.number, "weight": 100}],
            }
        ],
    }


def merged_pod(adapter: LoraAdapter, base: BaseModel, version: ServedVersion, platform: Platform) -> dict[str, Any]:
    """Return the pod: an init container brings the version, verified, and the engine serves what is merged in it."""
    return pod_spec(
        base.spec.serving,
        platform,
        automountServiceAccountToken=False,
        serviceAccountName=adapter.spec.pod.service_account_name,
        topologySpreadConstraints=spread(base.spec.serving, labels.selector(adapter.metadata, MERGED)),
        terminationGracePeriodSeconds=GRACE_SECONDS,
        initContainers=[
            _fetch_version_container(adapter, version, platform),
            _engine_container(adapter, base, version, platform),
        ],
        containers=[_agent_container(adapter, base, platform)],
        volumes=[
            _wanted_volume(),
            *api_key_volumes(base),
            *_token_volumes(adapter, base),
            scratch("tmp"),
            scratch("model"),
            *engine_volumes(),
        ],
    )


def _fetch_version_container(adapter: LoraAdapter, version: ServedVersion, platform: Platform) -> dict[str, Any]:
    arguments = {
        "namespace": adapter.metadata.namespace,
        "adapter": adapter.metadata.name,
        "number": str(version.number),
        "digest": version.digest,
        "destination": VERSION_DIR,
        "manifest": MANIFEST_FILE,
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


def _engine_container(
    adapter: LoraAdapter, base: BaseModel, version: ServedVersion, platform: Platform
) -> dict[str, Any]:
    """Return the engine, which serves the model under the name that versions have in engines."""
    name = engine_name(adapter.metadata.name, version.number, version.digest)
    arguments = [*model_arguments(f"{VERSION_DIR}/{MERGED}", name), *chosen_arguments(base, platform)]
    return engine_sidecar(platform, engine_process(base, platform, arguments), [MODEL_MOUNT])


def _agent_container(adapter: LoraAdapter, base: BaseModel, platform: Platform) -> dict[str, Any]:
    """Return the agent. It needs no registry: all that it is told comes with the pod.

    Where clients need a key, it has to show the other pods of the model that it is one of them, since it sends no
    client's key on; only there does it get tokens, for them and for the keys of the API by which it verifies theirs.
    """
    namespace, name = adapter.metadata.namespace, adapter.metadata.name
    environment = [
        *agent_environment(namespace, naming.merged_url(namespace, name)),
        variable("GRAFT_WANTED_FILE", f"{WANTED_DIR}/{WANTED_FILE}"),
        variable("GRAFT_MERGED_MANIFEST", MANIFEST_FILE),
        variable("GRAFT_ADAPTERS_DIR", "/tmp/agent"),  # noqa: S108 - an emptyDir of the pod; nothing is loaded from it
    ]
    mounts = [MODEL_MOUNT, {"name": "wanted", "mountPath": WANTED_DIR, "readOnly": True}]
    if base.spec.serving.api_key_secret_ref is not None:
        account = adapter.spec.pod.service_account_name or DEFAULT_ACCOUNT
        environment += peer_environment(_audience(adapter), account)
        mounts += [API_TOKEN_MOUNT, PEER_TOKEN_MOUNT]
    return agent_manifest(base, platform, env=environment, volume_mounts=mounts)


def _token_volumes(adapter: LoraAdapter, base: BaseModel) -> list[dict[str, Any]]:
    if base.spec.serving.api_key_secret_ref is None:
        return []
    return [api_token_volume(), peer_token_volume(_audience(adapter))]


def _audience(adapter: LoraAdapter) -> str:
    return peer_audience("LoraAdapter", adapter.metadata.namespace, adapter.metadata.name)


def _wanted_volume() -> dict[str, Any]:
    """Return the wanted set as a file: an annotation of the pod, since it is the same for as long as the pod is."""
    field = {"fieldPath": f"metadata.annotations['{labels.WANTED}']"}
    return {"name": "wanted", "downwardAPI": {"items": [{"path": WANTED_FILE, "fieldRef": field}]}}
