"""What a person would look at first after a failure: objects, events, pods and the last lines of every log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from demo import release
from demo.cluster import Cluster, CommandFailedError
from tests.e2e.tenant import ADAPTERS, BASES, Tenant

LOG_LINES = 40


def diagnose(tenants: Iterable[Tenant]) -> str:
    """Return the state of the given namespaces and of the operator, as text."""
    parts: list[str] = []
    for number, tenant in enumerate(tenants):
        if number == 0:
            parts += logs(tenant.cluster, release.NAMESPACE)
        parts += namespace(tenant)
    return "\n".join(parts)


def namespace(tenant: Tenant) -> Iterator[str]:
    """Yield what there is in one namespace."""
    scope = ("-n", tenant.namespace)
    for arguments in (
        ("get", f"{ADAPTERS},{BASES}", *scope, "-o", "yaml", "--show-managed-fields=false"),
        ("get", "pods,jobs,deployments", *scope, "-o", "wide"),
        ("get", "events", *scope, "--sort-by=.metadata.creationTimestamp"),
    ):
        yield said(tenant.cluster, *arguments)
    yield from logs(tenant.cluster, tenant.namespace)


def logs(cluster: Cluster, scope: str) -> Iterator[str]:
    """Yield the last lines of every container of a namespace."""
    names = said(cluster, "get", "pods", "-n", scope, "-o", "name").split("\n")[1:]
    for pod in filter(None, names):
        tail = f"--tail={LOG_LINES}"
        yield said(cluster, "logs", "-n", scope, pod, "--all-containers", "--prefix", tail, "--ignore-errors")


def said(cluster: Cluster, *arguments: str) -> str:
    """Return a command and what kubectl said to it, even if it failed."""
    try:
        answer = cluster.kubectl(*arguments)
    except CommandFailedError as error:
        answer = str(error)
    return f"$ kubectl {' '.join(arguments)}\n{answer}"
