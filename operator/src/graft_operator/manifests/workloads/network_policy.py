"""Who may reach serving pods, where the network plugin enforces it and the platform team wants it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from graft_operator.manifests import naming
from graft_operator.manifests.platform import NetworkAccess

OPERATOR_LABELS: Final = {"app.kubernetes.io/name": "graft", "app.kubernetes.io/component": "operator"}
"""Of the operator's pod, as the chart makes it."""
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Every namespace has its name in this label."""

OTHER_PORTS: Final = [
    {"protocol": "TCP", "port": 1, "endPort": naming.PEER_PORT - 1},
    {"protocol": "TCP", "port": naming.PEER_PORT + 1, "endPort": 65535},
    {"protocol": "UDP", "port": 1, "endPort": 65535},
]
"""All but that of peers."""


def network_policy(
    metadata: dict[str, Any], selector: dict[str, str], access: NetworkAccess, *, has_peers: bool
) -> dict[str, Any]:
    """Return the NetworkPolicy of the selected pods: nothing reaches them but by the ports of their agents.

    Where they go themselves is left open, since the registry and the API server may be anywhere; but what they send to
    their peers reaches no other pod that has got the address of one since. The kubelet's probes come from the node,
    which no policy keeps out.
    """
    clients = [*namespaces(access.client_namespaces), {"podSelector": {}}] if access.client_namespaces else []
    operator = {**namespaces([access.operator_namespace])[0], "podSelector": {"matchLabels": OPERATOR_LABELS}}
    own = [{"podSelector": {"matchLabels": selector}}]
    peers = [allow(naming.PEER_PORT, own)] if has_peers else []
    egress = {"egress": [{**allow(naming.PEER_PORT, []), "to": own}, {"ports": OTHER_PORTS}]} if has_peers else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", *(["Egress"] if has_peers else [])],
            "ingress": [
                allow(naming.API_PORT, clients),
                *peers,
                allow(naming.STATE_PORT, [operator, *namespaces(access.monitoring_namespaces)]),
            ],
            **egress,
        },
    }


def allow(port: int, sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the rule that lets these sources ask on a port; without any it is open to all."""
    rule: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": port}]}
    return {**rule, "from": sources} if sources else rule


def namespaces(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the sources that are all pods of these namespaces."""
    return [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}} for name in sorted(names)]
