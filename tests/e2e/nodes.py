"""The local cluster's nodes, which are containers: what can only be done from below Kubernetes."""

from __future__ import annotations

from tests.e2e.tenant import Tenant


def on_node(tenant: Tenant, node: str, *command: str) -> str:
    """Run a command on a node and return what it printed. Raises CommandFailedError."""
    host = tenant.environment.docker_host
    return tenant.cluster.run("docker", *(("--host", host) if host else ()), "exec", node, *command)


def control_plane(tenant: Tenant) -> str:
    """Return the name of the node that the API server runs on."""
    [node] = tenant.cluster.list("node", selector="node-role.kubernetes.io/control-plane")
    return str(node["metadata"]["name"])
