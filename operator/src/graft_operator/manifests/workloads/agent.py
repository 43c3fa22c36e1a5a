"""The agent's container, which stands before the engine of every serving pod: it alone is reached from outside."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.base_model import BaseModel
from graft_operator.manifests import naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import READABLE, container, resources_of, variable
from graft_operator.manifests.workloads.serving_workload import DRAIN_SECONDS

AGENT: Final = "agent"
API_KEY_DIR: Final = "/etc/graft/api-keys"
API_KEY_FILE: Final = "keys"


def agent_manifest(
    base: BaseModel, platform: Platform, *, env: list[dict[str, Any]], volume_mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the container; it asks clients for the keys of the base, if that has any."""
    return container(
        AGENT,
        platform.agent_image,
        platform,
        env=[*env, *api_key_environment(base), *tracing_environment(platform)],
        ports=[
            {"name": "api", "containerPort": naming.API_PORT},
            {"name": "peers", "containerPort": naming.PEER_PORT},
            {"name": "state", "containerPort": naming.STATE_PORT},
        ],
        **agent_probes(),
        resources=resources_of(platform.agent_resources),
        volumeMounts=[*volume_mounts, *api_key_mounts(base)],
    )


def agent_environment(namespace: str, service_url: str) -> list[dict[str, Any]]:
    """Return what every agent is told: whose it is, where the engine is, and which Service is before such pods."""
    return [
        {"name": "GRAFT_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        variable("GRAFT_NAMESPACE", namespace),
        variable("GRAFT_ENGINE_URL", f"http://127.0.0.1:{naming.ENGINE_PORT}"),
        variable("GRAFT_DRAIN_SECONDS", str(DRAIN_SECONDS)),
        variable("GRAFT_PEER_PORT", str(naming.PEER_PORT)),
        variable("GRAFT_PEER_SERVICE_URL", service_url),
    ]


def api_key_volumes(base: BaseModel) -> list[dict[str, Any]]:
    """Return the volume with the file of API keys, if the base's API asks for any."""
    reference = base.spec.serving.api_key_secret_ref
    if reference is None:
        return []
    items = [{"key": reference.key, "path": API_KEY_FILE}]
    return [{"name": "api-keys", "secret": {"secretName": reference.name, "items": items, "defaultMode": READABLE}}]


def api_key_mounts(base: BaseModel) -> list[dict[str, Any]]:
    """Return the mount of :func:`api_key_volumes`. The whole volume: a file mounted by subPath would never change."""
    mount = {"name": "api-keys", "mountPath": API_KEY_DIR, "readOnly": True}
    return [mount] if base.spec.serving.api_key_secret_ref else []


def api_key_environment(base: BaseModel) -> list[dict[str, Any]]:
    """Return what tells the agent to ask for keys."""
    named = variable("GRAFT_API_KEY_FILE", f"{API_KEY_DIR}/{API_KEY_FILE}")
    return [named] if base.spec.serving.api_key_secret_ref else []


def tracing_environment(platform: Platform) -> list[dict[str, Any]]:
    """Return what tells the agent where spans go, if they go anywhere."""
    told = platform.tracing
    if told is None:
        return []
    ratio = variable("GRAFT_TRACE_SAMPLE_RATIO", f"{told.sample_ratio:g}")
    return [variable("GRAFT_OTLP_ENDPOINT", told.otlp_endpoint), ratio]


def agent_probes() -> dict[str, Any]:
    """Return the probes. A starved node is no reason to restart: the agent would only lose what it is about to say."""
    alive = {"httpGet": {"path": "/healthz", "port": "state"}, "timeoutSeconds": 5}
    ready = {"httpGet": {"path": "/readyz", "port": "state"}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**alive, "periodSeconds": 2, "failureThreshold": 90},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 3},
    }
