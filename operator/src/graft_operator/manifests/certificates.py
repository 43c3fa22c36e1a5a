"""Certificates that containers trust, for stores and hubs behind an authority of one's own."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.pods import PodSettings
from graft_operator.api.pods.settings import ConfigMapKeyReference
from graft_operator.manifests.platform import Platform

VOLUME: Final = "ca-bundle"
DIRECTORY: Final = "/etc/graft/ca"
FILE: Final = "ca.crt"
VARIABLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
"""By which boto3, requests, OpenSSL (so httpx, aiohttp and the hub's clients), and curl find a bundle."""


def ca_volumes(settings: PodSettings, platform: Platform) -> list[dict[str, Any]]:
    """Return the volume with the bundle; none where nobody has named one.

    It is not optional: a pod waits for a ConfigMap that is on its way, and status tells which one is not there. Without
    it the pod would start, and fail with the words of a TLS library.
    """
    bundle = _bundle(settings, platform)
    if bundle is None:
        return []
    items = [{"key": bundle.key, "path": FILE}]
    return [{"name": VOLUME, "configMap": {"name": bundle.name, "items": items}}]


def ca_mounts(settings: PodSettings, platform: Platform) -> list[dict[str, Any]]:
    """Return the mount of :func:`ca_volumes`."""
    mount = {"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True}
    return [mount] if _bundle(settings, platform) else []


def ca_environment(settings: PodSettings, platform: Platform) -> list[dict[str, Any]]:
    """Return the variables that name the bundle."""
    named = [{"name": name, "value": f"{DIRECTORY}/{FILE}"} for name in VARIABLES]
    return named if _bundle(settings, platform) else []


def _bundle(settings: PodSettings, platform: Platform) -> ConfigMapKeyReference | None:
    return settings.ca_bundle or platform.tenant_pods.ca_bundle
