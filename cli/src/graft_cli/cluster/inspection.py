"""Gathers what ``kubectl graft doctor`` judges. What this person may not see is written down, not raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from graft_cli.client.connection import TIMEOUT, Connection, no_answer_of_the_api, translated
from graft_cli.client.reader import ClusterReader
from graft_cli.decisions.diagnosis import CRDS, Facts, Lease
from graft_cli.decisions.rights import RIGHTS, Right
from graft_cli.errors import Forbidden, GraftError, NotFound
from graft_operator.api.conditions import Condition, find

T = TypeVar("T")


def inspect(reader: ClusterReader, namespace: str, *, operator_namespace: str, lease_name: str) -> Facts:
    """Return the facts; a cluster that can't be asked is one, too."""
    from kubernetes import client

    connection = reader.connection
    try:
        with translated("ask for the version of the API server"):
            version = client.VersionApi(connection.api).get_code(_request_timeout=TIMEOUT)
    except GraftError as error:
        return Facts(problem=error.message)
    if version is None:
        return Facts(problem=no_answer_of_the_api("ask for the version of the API server").message)
    hidden: dict[str, str] = {}
    failed: dict[str, str] = {}

    def seen(what: str, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except Forbidden as error:
            hidden[what] = error.message
        except GraftError as error:  # one part of the API server may be away, such as an aggregated one
            failed[what] = error.message
        return None

    return Facts(
        server_version=version.git_version,
        namespace=namespace,
        crds=seen("CRDs", lambda: served_versions(connection)),
        lease=seen("operator", lambda: read_lease(connection, operator_namespace, lease_name)),
        lease_name=f"{operator_namespace}/{lease_name}",
        rights=seen("rights", lambda: rights_of(connection, namespace)) or {},
        gpus=seen("GPUs", lambda: gpus(connection)),
        registry=seen("registry", lambda: told_of_registry(reader, namespace)),
        hidden=hidden,
        failed=failed,
    )


def served_versions(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the served versions of our CRDs that are installed. Raises Forbidden."""
    from kubernetes.client import ApiextensionsV1Api

    found: dict[str, tuple[str, ...]] = {}
    for name in CRDS:
        try:
            with translated(f"read CustomResourceDefinition {name}"):
                crd = ApiextensionsV1Api(connection.api).read_custom_resource_definition(name, _request_timeout=TIMEOUT)
        except NotFound:
            continue
        found[name] = tuple(version.name for version in crd.spec.versions if version.served)
    return found


def told_of_registry(reader: ClusterReader, namespace: str) -> Condition | None:
    """Return what the bases say of the registry's store: all say the same. Raises Forbidden."""
    try:
        told = (find(base.status.conditions, "RegistrySafe") for base in reader.bases(namespace))
        return next(filter(None, told), None)
    except NotFound:  # no CRD, which has a check of its own
        return None


def read_lease(connection: Connection, namespace: str, name: str) -> Lease | None:
    """Return the operator's lease; None where there is none. Raises Forbidden."""
    from kubernetes.client import CoordinationV1Api

    try:
        with translated(f"read Lease {namespace}/{name}"):
            spec = (
                CoordinationV1Api(connection.api).read_namespaced_lease(name, namespace, _request_timeout=TIMEOUT).spec
            )
    except NotFound:
        return None
    if spec is None:
        return Lease("", None, 15)
    return Lease(spec.holder_identity or "", spec.renew_time, spec.lease_duration_seconds or 15)


def rights_of(connection: Connection, namespace: str) -> dict[Right, bool]:
    """Return which of the rights that verbs need this person has. Raises GraftError."""
    return {right: may(connection, namespace, right) for right in sorted(set().union(*RIGHTS.values()))}


def may(connection: Connection, namespace: str, right: Right) -> bool:
    """Whether this person has the right: asked by a SelfSubjectAccessReview, which everybody may."""
    from kubernetes import client

    resource, _, subresource = right.resource.partition("/")
    attributes = client.V1ResourceAttributes(
        group=right.group, resource=resource, subresource=subresource or None, verb=right.verb, namespace=namespace
    )
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes))
    with translated("ask for your own rights"):
        answer = client.AuthorizationV1Api(connection.api).create_self_subject_access_review(
            review, _request_timeout=TIMEOUT
        )
    return bool(answer.status.allowed)


def gpus(connection: Connection) -> dict[str, int]:
    """Return the allocatable GPUs of nodes that have some. Raises Forbidden."""
    from kubernetes.client import CoreV1Api

    with translated("list nodes"):
        nodes = CoreV1Api(connection.api).list_node(_request_timeout=TIMEOUT).items
    counted = {node.metadata.name: gpus_of(node.status.allocatable or {}) for node in nodes}
    return {name: count for name, count in counted.items() if count}


def gpus_of(allocatable: dict[str, Any]) -> int:
    """Return the GPUs and MIG slices among a node's resources, of any vendor."""
    names = [name for name in allocatable if name.endswith("/gpu") or "/mig-" in name]
    return sum(int(allocatable[name]) for name in names if str(allocatable[name]).isdigit())
