"""Taking away what Graft depends on, and giving it back whatever happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from demo import release
from demo.cluster import CommandFailedError
from tests.e2e.nodes import control_plane, on_node
from tests.e2e.tenant import Tenant

Outage = Callable[[Tenant], AbstractContextManager[None]]

OPERATOR = ("-n", release.NAMESPACE, "-l", "app.kubernetes.io/component=operator")
STORAGE = ("-n", "graft-s3", "-l", "app=s3")
"""Namespace and label of the local cluster's S3 endpoint, see hack/manifests/s3.yaml; its data is on the nodes."""
STORAGE_DEPLOYMENT = ("-n", "graft-s3", "deployment/s3")
MANIFEST, HIDDEN = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
"""The API server is a static pod: it runs for as long as its manifest is in the kubelet's folder."""
GONE_SECONDS, BACK_SECONDS = 120, 300


@contextmanager
def operator_away(tenant: Tenant) -> Iterator[None]:
    """Run without an operator."""
    [deployment] = tenant.cluster.kubectl("get", "deployment", *OPERATOR, "-o", "name").split()
    with scaled_to_nothing(tenant, deployment=("-n", release.NAMESPACE, deployment), pods=OPERATOR):
        yield


@contextmanager
def storage_away(tenant: Tenant) -> Iterator[None]:
    """Run without an S3 endpoint."""
    with scaled_to_nothing(tenant, deployment=STORAGE_DEPLOYMENT, pods=STORAGE):
        yield


@contextmanager
def scaled_to_nothing(tenant: Tenant, *, deployment: tuple[str, ...], pods: tuple[str, ...]) -> Iterator[None]:
    """Run without the pods of a Deployment; both are kubectl's arguments that name them."""
    kubectl = tenant.cluster.kubectl
    try:
        kubectl("scale", *deployment, "--replicas=0")
        kubectl("wait", "pod", *pods, "--for=delete", f"--timeout={GONE_SECONDS}s", timeout=GONE_SECONDS + 10)
        yield
    finally:
        kubectl("scale", *deployment, "--replicas=1")
        kubectl("rollout", "status", *deployment, f"--timeout={BACK_SECONDS}s", timeout=BACK_SECONDS + 10)


@contextmanager
def api_server_away(tenant: Tenant) -> Iterator[None]:
    """Run without an API server. Within the block nothing can be asked or changed by kubectl."""
    node = control_plane(tenant)
    try:
        on_node(tenant, node, "mv", MANIFEST, HIDDEN)
        wait_until(lambda: not answers(tenant), "the API server is gone", GONE_SECONDS)
        yield
    finally:
        on_node(tenant, node, "sh", "-c", f"test ! -e {HIDDEN} || mv {HIDDEN} {MANIFEST}")
        wait_until(lambda: answers(tenant), "the API server is back", BACK_SECONDS)


def answers(tenant: Tenant) -> bool:
    """Whether the API server does."""
    try:
        tenant.cluster.kubectl("get", "--raw", "/readyz", "--request-timeout=5s", timeout=15)
    except CommandFailedError:
        return False
    return True


def wait_until(holds: Callable[[], bool], what: str, timeout: float) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not after {timeout:.0f} s: {what}"
        time.sleep(1)
