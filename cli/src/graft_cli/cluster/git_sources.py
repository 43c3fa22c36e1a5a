"""Where in its repository a GitOps tool finds what it applies, as far as this person may see that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_cli.client.connection import TIMEOUT, Connection, translated
from graft_cli.decisions.gitops import GitOwner
from graft_cli.errors import GraftError

KINDS: Final = {
    "Kustomization": {"group": "kustomize.toolkit.fluxcd.io", "version": "v1", "plural": "kustomizations"},
    "Application": {"group": "argoproj.io", "version": "v1alpha1", "plural": "applications"},
}
"""A HelmRelease renders a chart: no folder holds the objects as they are."""
ARGO_NAMESPACE: Final = "argocd"
"""Of Applications that don't say otherwise."""


def folder_in_git(connection: Connection, owner: GitOwner) -> str:
    """Return the folder that the tool applies; empty where it can't be seen: that is a help, and no need."""
    from kubernetes.client import CustomObjectsApi

    if owner.kind not in KINDS:
        return ""
    namespace, name = owner.place
    try:
        with translated(f"read {owner.source}"):
            body = CustomObjectsApi(connection.api).get_namespaced_custom_object(
                **KINDS[owner.kind], namespace=namespace or ARGO_NAMESPACE, name=name, _request_timeout=TIMEOUT
            )
    except GraftError:
        return ""
    return folder_of(body)


def folder_of(body: Mapping[str, Any]) -> str:
    """Return the folder that a Kustomization or an Application names; empty for one of several sources, or a chart."""
    spec = body.get("spec") or {}
    return str(spec.get("path") or (spec.get("source") or {}).get("path") or "")
