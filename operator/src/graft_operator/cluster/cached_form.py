"""What the cache keeps of an object, and what it is looked up by besides its name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_operator.api.meta import GROUP
from graft_operator.cluster.resources import CONFIG_MAPS, EVENTS, JOBS, LORA_ADAPTERS, WORKLOADS, Resource
from graft_operator.cluster.workload import read_of
from graft_operator.manifests import labels

Object = dict[str, Any]

AUTOSCALED: Final = f"{GROUP}/autoscaled"
"""Annotation that stands for the ``managedFields`` of a Deployment whose replicas an autoscaler has set."""

NOTE_LIMIT: Final = 1024


def cached_form(resource: Resource, body: Mapping[str, Any]) -> Object:
    """Return the object as it is cached: without the fields that nobody reads.

    ``managedFields`` are half of what is applied by the server, and only :func:`scaled_by_autoscaler` asks for them.
    """
    body = read_of(body) if resource == WORKLOADS else body
    metadata = dict(body["metadata"])
    if "managedFields" in metadata:
        if scaled_by_autoscaler(metadata):
            metadata["annotations"] = {**metadata.get("annotations", {}), AUTOSCALED: "true"}
        del metadata["managedFields"]
    if resource.kind == EVENTS.kind:
        body = {**body, "note": str(body.get("note") or "")[:NOTE_LIMIT]}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body, "metadata": metadata}


def indexes(resource: Resource, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the object is looked up by besides its name."""
    namespace = body["metadata"].get("namespace", "")
    if resource == LORA_ADAPTERS:
        base = ((body.get("spec") or {}).get("baseModelRef") or {}).get("name")
        return (f"{namespace}/{base}",) if base else ()
    if resource.kind == EVENTS.kind:
        return of_uid(namespace, str((body.get("regarding") or {}).get("uid", ""))), f"{namespace}/"
    if resource == WORKLOADS:
        return tuple(of_uid(namespace, str(item.get("uid", ""))) for item in owning_jobs(body))
    uid, owner = label(body, labels.OWNER_UID), (body["metadata"].get("annotations") or {}).get(labels.OWNER_NAME)
    named = (f"{namespace}/{owner}",) if owner and resource in (CONFIG_MAPS, JOBS) else ()
    return (*((of_uid(namespace, uid),) if uid else ()), *named)


def of_uid(namespace: str, uid: str) -> str:
    """Return the index of what says that it belongs to the object of this uid.

    Anybody can write another's uid into a label or a reference of his own objects, but only where he has rights: what
    belongs to an object is in its namespace. No namespace has a colon, so that no name passes for such an index.
    """
    return f"uid:{namespace}/{uid}"


def scaled_by_autoscaler(metadata: Mapping[str, Any]) -> bool:
    """Whether the autoscaler's controller, through the scale subresource, was the last to set the replicas."""
    return any(
        field.get("subresource") == "scale"
        and field.get("manager") == "kube-controller-manager"
        and "f:replicas" in field.get("fieldsV1", {}).get("f:spec", {})
        for field in metadata.get("managedFields") or ()
    )


def owning_jobs(workload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the references of a Workload to the Jobs that it was made of."""
    owners = workload["metadata"].get("ownerReferences") or ()
    return [item for item in owners if item.get("kind") == JOBS.kind and item.get("apiVersion") == JOBS.api_version]


def label(body: Mapping[str, Any], name: str) -> str:
    """Return a label's value; empty where there is none."""
    return str((body["metadata"].get("labels") or {}).get(name, ""))
