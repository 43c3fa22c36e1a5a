"""Changes of adapters, by the person's own rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_cli.client.connection import TIMEOUT, Connection, translated
from graft_cli.client.objects import ADAPTERS, API
from graft_operator.api.meta import ObjectMeta

FIELD_MANAGER: Final = "kubectl-graft"
MERGE_PATCH: Final = "application/merge-patch+json"


def patch_adapter(
    connection: Connection, read: ObjectMeta, patch: Mapping[str, Any], *, dry_run: bool = False
) -> Mapping[str, Any]:
    """Patch an adapter as it was read, or see what the API server would say.

    Raises Conflict where it has changed since, NotFound, Forbidden, Unreachable, GraftError.
    """
    from kubernetes.client import CustomObjectsApi

    metadata = {**patch.get("metadata", {}), "resourceVersion": read.resource_version or None}
    options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
    with translated(f"change LoraAdapter {read.namespace}/{read.name}"):
        answer: Mapping[str, Any] = CustomObjectsApi(connection.api).patch_namespaced_custom_object(
            **API,
            namespace=read.namespace,
            plural=ADAPTERS,
            name=read.name,
            body={**patch, "metadata": metadata},
            field_manager=FIELD_MANAGER,
            field_validation="Strict",
            _content_type=MERGE_PATCH,
            _request_timeout=TIMEOUT,
            **options,
        )
    return answer
