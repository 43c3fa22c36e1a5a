"""What serves one revision of a base: a Deployment of engine and agent, its Service, and its wanted set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from graft_operator.api.base_model import BaseModel, ServingRevision
from graft_operator.manifests import labels, naming
from graft_operator.manifests.platform import NetworkAccess, Platform
from graft_operator.manifests.pods import (
    BASE_DIR,
    READABLE,
    base_mounts,
    base_volumes,
    fetch_base_container,
    pod_metadata,
    pod_spec,
    registry_credentials,
    registry_env,
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
    service_account_name,
)
from graft_operator.manifests.workloads.agent import (
    agent_environment,
    agent_manifest,
    api_key_volumes,
)
from graft_operator.manifests.workloads.disruption import disruption_budget
from graft_operator.manifests.workloads.engine import engine_container, engine_volumes
from graft_operator.manifests.workloads.network_policy import network_policy
from graft_operator.manifests.workloads.serving_workload import (
    GRACE_SECONDS,
    api_service,
    rolling_deployment,
)

SERVING: Final = "serving"
WANTED_KEY: Final = "wanted.json"
REGISTRY_KEYS_DIR: Final = "/etc/graft/registry-keys"
"""The registry's keys again, as files: what is in the environment stays as it was when the pod started."""


def revision_manifests(
    base: BaseModel, revision: ServingRevision, wanted: dict[str, Any], platform: Platform
) -> list[dict[str, Any]]:
    """Return ConfigMap, Service, PodDisruptionBudget and Deployment of one revision, in the order of their need."""
    return [
        wanted_config_map(base, revision, wanted),
        revision_service(base, revision),
        disruption_budget(_metadata(base, revision), _selector(base, revision)),
        deployment(base, revision, platform),
    ]


def wanted_config_map(base: BaseModel, revision: ServingRevision, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the ConfigMap that the revision's agents watch."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(base, revision),
        "data": {WANTED_KEY: wanted_text(wanted)},
    }


def wanted_text(document: Mapping[str, Any]) -> str:
    """Return a wanted set, or a part of one, as it stands in its ConfigMap: in ASCII, and without spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def shared_service(base: BaseModel) -> dict[str, Any]:
    """Return the Service that clients use: every revision of the base is behind it."""
    name = naming.serving_name(base.metadata.name)
    metadata = labels.object_meta("BaseModel", base.metadata, name=name, component=SERVING)
    return api_service(metadata, base_selector(base))


def base_network_policy(base: BaseModel, access: NetworkAccess) -> dict[str, Any]:
    """Return the NetworkPolicy of the pods of every revision of the base."""
    name = naming.serving_name(base.metadata.name)
    metadata = labels.object_meta("BaseModel", base.metadata, name=name, component=SERVING)
    return network_policy(metadata, base_selector(base), access, has_peers=True)


def revision_service(base: BaseModel, revision: ServingRevision) -> dict[str, Any]:
    """Return the Service of one revision: other revisions forward to it during a base bump."""
    return api_service(_metadata(base, revision), _selector(base, revision))


def deployment(base: BaseModel, revision: ServingRevision, platform: Platform) -> dict[str, Any]:
    """Return the Deployment of one revision."""
    selector, metadata = _selector(base, revision), _metadata(base, revision)
    own = {"labels": metadata["labels"] | selector, "annotations": {labels.OWNER_NAME: base.metadata.name}}
    template = {
        "metadata": pod_metadata(own, base.spec.serving, platform),
        "spec": serving_pod(base, revision, platform, selector),
    }
    return rolling_deployment(metadata, revision.replicas, selector, template)


def serving_pod(
    base: BaseModel, revision: ServingRevision, platform: Platform, selector: dict[str, str]
) -> dict[str, Any]:
    """Return the pod: the engine is a sidecar, so that on termination the agent drains while the engine still runs."""
    name, serving = base.metadata.name, base.spec.serving
    over_nodes = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    return pod_spec(
        serving,
        platform,
        # The agent alone gets tokens, by volumes of their own: the engine runs the code of models.
        automountServiceAccountToken=False,
        serviceAccountName=_account(base),
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=spread(serving, selector) or [over_nodes],
        initContainers=[
            fetch_base_container(base.metadata.namespace, name, revision, platform),
            engine_container(base, revision, platform),
        ],
        containers=[agent_container(base, revision, platform)],
        volumes=[
            *base_volumes(revision),
            *api_key_volumes(base),
            registry_key_volume(platform),
            api_token_volume(),
            peer_token_volume(_audience(base)),
            scratch("tmp"),
            scratch("adapters"),
            *engine_volumes(),
        ],
    )


def agent_container(base: BaseModel, revision: ServingRevision, platform: Platform) -> dict[str, Any]:
    """Return the agent, which brings the versions that the wanted set of its revision names."""
    namespace, name = base.metadata.namespace, base.metadata.name
    environment = [
        variable("GRAFT_WANTED_CONFIGMAP", revision.deployment),
        variable("GRAFT_BASE_DIR", BASE_DIR),
        variable("GRAFT_ADAPTERS_DIR", "/adapters"),
        variable("GRAFT_MAX_RANK", str(base.spec.serving.max_rank)),
        variable("GRAFT_REGISTRY_KEYS_DIR", REGISTRY_KEYS_DIR),
        *peer_environment(_audience(base), _account(base)),
    ]
    mounts = [
        *base_mounts(revision),
        {"name": "registry-keys", "mountPath": REGISTRY_KEYS_DIR, "readOnly": True},
        API_TOKEN_MOUNT,
        PEER_TOKEN_MOUNT,
        {"name": "adapters", "mountPath": "/adapters"},
    ]
    agent = agent_manifest(
        base,
        platform,
        env=[*registry_env(platform), *agent_environment(namespace, naming.service_url(namespace, name)), *environment],
        volume_mounts=mounts,
    )
    return {**agent, "envFrom": registry_credentials(platform)}


def registry_key_volume(platform: Platform) -> dict[str, Any]:
    """Return the volume with the registry's keys as files; optional, since workload identity needs none."""
    secret = {"secretName": platform.registry_secret_name, "optional": True, "defaultMode": READABLE}
    return {"name": "registry-keys", "secret": secret}


def base_selector(base: BaseModel) -> dict[str, str]:
    """Return the labels that the pods of every revision of the base have in common."""
    return labels.selector(base.metadata, SERVING)


def pod_selector(base: BaseModel, revision: ServingRevision) -> str:
    """Return the label selector of a revision's pods as a string, for the scale subresource."""
    return ",".join(f"{name}={value}" for name, value in sorted(_selector(base, revision).items()))


def _account(base: BaseModel) -> str:
    """Return the pods' ServiceAccount, by which they know one another: the user's choice, or the operator's own."""
    return base.spec.serving.service_account_name or service_account_name(base.metadata.name)


def _audience(base: BaseModel) -> str:
    """Return whom the pods' tokens for one another are for: all revisions', since those send requests on, too."""
    return peer_audience("BaseModel", base.metadata.namespace, base.metadata.name)


def _metadata(base: BaseModel, revision: ServingRevision) -> dict[str, Any]:
    return labels.object_meta(
        "BaseModel",
        base.metadata,
        name=revision.deployment,
        component=SERVING,
        labels={labels.BASE_DIGEST: naming.short(revision.digest)},
        annotations={labels.RECIPE: revision.digest},
    )


def _selector(base: BaseModel, revision: ServingRevision) -> dict[str, str]:
    return base_selector(base) | {labels.BASE_DIGEST: naming.short(revision.digest)}
