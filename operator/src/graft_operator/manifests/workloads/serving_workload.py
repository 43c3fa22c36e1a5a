"""What both ways of serving share: the Service of an API, and a Deployment that never answers with fewer pods."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.manifests import naming

DRAIN_SECONDS: Final = 5
"""An endpoint stays known to kube-proxy for a moment after the pod is told to stop."""
NOTICED_SECONDS: Final = 2
"""Nor is it known there at once when the pod is ready."""
GRACE_SECONDS: Final = 120
"""Time for streaming answers to end."""
START_SECONDS: Final = 3600
"""Time for the download, and for the engine to load and compile a large model."""


def api_service(metadata: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    """Return the Service through which clients reach the OpenAI API of the selected pods."""
    port = {"name": "http", "port": naming.API_PORT, "targetPort": "api"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": selector, "ports": [port], "ipFamilyPolicy": naming.IP_FAMILIES},
    }


def rolling_deployment(
    metadata: dict[str, Any], replicas: int, selector: dict[str, str], template: dict[str, Any]
) -> dict[str, Any]:
    """Return the Deployment; no pod is taken away before its successor answers."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            # A moment longer than adapters count: by our clock, too, the successor is known before a pod is taken away.
            "minReadySeconds": NOTICED_SECONDS + 1,
            "progressDeadlineSeconds": START_SECONDS,
            "template": template,
        },
    }
