"""What the serving pods may do with the Kubernetes API: read their own wanted sets, by name, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graft_operator.api.base_model import BaseModel
from graft_operator.manifests import labels, naming


def service_account_name(base: str) -> str:
    """Return the name of the ServiceAccount of a base's serving pods, and of its Role."""
    return f"{naming.serving_name(base)}-serving"


def access_manifests(base: BaseModel, config_maps: Sequence[str]) -> list[dict[str, Any]]:
    """Return ServiceAccount, Role and RoleBinding."""
    name = service_account_name(base.metadata.name)
    metadata = labels.object_meta("BaseModel", base.metadata, name=name, component="serving")
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": sorted(config_maps),
        "verbs": ["get", "list", "watch"],
    }
    role_api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{role_api}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{role_api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": base.metadata.namespace}],
            "roleRef": {"apiGroup": role_api, "kind": "Role", "name": name},
        },
    ]
