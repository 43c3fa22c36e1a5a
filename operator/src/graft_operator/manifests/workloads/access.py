"""What the serving pods may do with the Kubernetes API: read their own wanted sets, by name, and nothing else.

Of their containers only the agent has a token for it, and another one by which pods of one owner know one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from graft_operator.api.base_model import BaseModel
from graft_operator.manifests import labels, naming
from graft_operator.manifests.pods import READABLE, variable

TOKEN_SECONDS: Final = 3600
"""The kubelet replaces it well before, and the agent reads it anew for every request."""
API_TOKEN_MOUNT: Final[dict[str, Any]] = {
    "name": "api-token",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
"""Of the agent alone, where clients of the API look for it."""
PEER_TOKEN_MOUNT: Final[dict[str, Any]] = {
    "name": "peer-token",
    "mountPath": "/var/run/secrets/graft.dev/peers",
    "readOnly": True,
}
"""Of the agent alone, too."""
PEER_TOKEN_FILE: Final = "token"  # noqa: S105 - a file's name


def service_account_name(base: str) -> str:
    """Return the name of the ServiceAccount of a base's serving pods, and of its Role."""
    return f"{naming.serving_name(base)}-serving"


def access_manifests(base: BaseModel, config_maps: Sequence[str]) -> list[dict[str, Any]]:
    """Return ServiceAccount, Role and RoleBinding.

    Our own account is there, and bound, even where the user names another one: pods from before have it.
    """
    name, serving = service_account_name(base.metadata.name), base.spec.serving
    metadata = labels.object_meta("BaseModel", base.metadata, name=name, component="serving")
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": sorted(config_maps),
        "verbs": ["get", "list", "watch"],
    }
    # Ours win: by them the account is found. Tokens of the cloud's are mounted by its own webhook.
    account = metadata | {"annotations": serving.service_account_annotations | metadata["annotations"]}
    accounts = [name, *([serving.service_account_name] if serving.service_account_name not in (None, name) else [])]
    role_api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {"apiVersion": f"{role_api}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{role_api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [
                {"kind": "ServiceAccount", "name": account_name, "namespace": base.metadata.namespace}
                for account_name in accounts
            ],
            "roleRef": {"apiGroup": role_api, "kind": "Role", "name": name},
        },
    ]


def api_token_volume() -> dict[str, Any]:
    """Return the volume of :data:`API_TOKEN_MOUNT`: a token that ends with the pod, and the API's certificate."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "api-token", "projected": {"defaultMode": READABLE, "sources": sources}}


def peer_audience(kind: str, namespace: str, name: str) -> str:
    """Return whom the tokens are for by which the serving pods of one object know one another."""
    return f"graft-peers.{namespace}.{kind.lower()}.{name}"


def peer_token_volume(audience: str) -> dict[str, Any]:
    """Return the volume of :data:`PEER_TOKEN_MOUNT`: a token that nobody takes but pods of the same owner."""
    token = {"path": PEER_TOKEN_FILE, "expirationSeconds": TOKEN_SECONDS, "audience": audience}
    return {"name": "peer-token", "projected": {"defaultMode": READABLE, "sources": [{"serviceAccountToken": token}]}}


def peer_environment(audience: str, account: str) -> list[dict[str, Any]]:
    """Return what tells the agent which tokens other pods show, and where its own is."""
    return [
        variable("GRAFT_PEER_AUDIENCE", audience),
        variable("GRAFT_PEER_ACCOUNT", account),
        variable("GRAFT_PEER_TOKEN_FILE", f"{PEER_TOKEN_MOUNT['mountPath']}/{PEER_TOKEN_FILE}"),
    ]
