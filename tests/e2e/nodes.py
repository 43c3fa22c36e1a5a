"""The local cluster's nodes, which are containers: what can only be done from below Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.tenant import Tenant

USUAL_SHARES = 1024
"""Docker's weight of a container's processor time, where nobody says otherwise."""


def on_node(tenant: Tenant, node: str, *command: str) -> str:
    """Run a command on a node and return what it printed. Raises CommandFailedError."""
    return _docker(tenant, "exec", node, *command)


def control_plane(tenant: Tenant) -> str:
    """Return the name of the node that the API server runs on."""
    [node] = tenant.cluster.list("node", selector="node-role.kubernetes.io/control-plane")
    return str(node["metadata"]["name"])


@contextmanager
def workers_first(tenant: Tenant) -> Iterator[None]:
    """Let the other nodes go before the control plane's, where they have one processor among them.

    In a cluster that serves, the control plane has machines of its own: it takes no time from engines.
    """
    workers = sorted({str(node["metadata"]["name"]) for node in tenant.cluster.list("node")} - {control_plane(tenant)})
    _docker(tenant, "update", f"--cpu-shares={8 * USUAL_SHARES}", *workers)
    try:
        yield
    finally:
        _docker(tenant, "update", f"--cpu-shares={USUAL_SHARES}", *workers)


def _docker(tenant: Tenant, *words: str) -> str:
    host = tenant.environment.docker_host
    return tenant.cluster.run("docker", *(("--host", host) if host else ()), *words)
