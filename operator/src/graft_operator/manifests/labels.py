"""Labels and annotations of our own objects. Nothing is ever copied from the owner: GitOps tools claim by labels."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.meta import API_VERSION, GROUP, ObjectMeta

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "graft"
COMPONENT: Final = f"{GROUP}/component"
OWNER_KIND: Final = f"{GROUP}/owner-kind"
OWNER_UID: Final = f"{GROUP}/owner-uid"
OWNER_NAME: Final = f"{GROUP}/owner-name"
"""An annotation: names may be longer than a label's 63 characters."""
BASE_UID: Final = f"{GROUP}/base-uid"
"""On training Jobs: the base whose places for re-adaptation they take."""
BASE_DIGEST: Final = f"{GROUP}/base-digest"
"""On what serves a revision: the first hex digits of the base digest."""
RECIPE: Final = f"{GROUP}/recipe"
"""Annotation: on a Job the full digest of what it does, on a serving Deployment the full digest of its base."""
REASON: Final = f"{GROUP}/reason"
"""On training Jobs: why the version is made."""
READAPTATION: Final = f"{GROUP}/readaptation"
"""On training Jobs that take a place for re-adaptation."""
MICRO_BATCH: Final = f"{GROUP}/micro-batch"
"""Annotation of training Jobs: rows of one forward pass."""
POD_SETTINGS: Final = f"{GROUP}/pod-settings"
"""Annotation of training Jobs: digest of the pod settings and the deadline that they were made with."""
ROWS: Final = f"{GROUP}/rows"
"""Annotation of Jobs that prepare rows: digest of what decides which rows they are."""
RETRY: Final = f"{GROUP}/retry"
"""Annotation that people give another value to try again what has failed for good."""
KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""On training Jobs: the LocalQueue that decides when they run."""
KUEUE_PRIORITY: Final = "kueue.x-k8s.io/priority-class"
"""On training Jobs: the WorkloadPriorityClass that decides which of them go first."""
VERSION: Final = f"{GROUP}/version"
"""Annotation of a merged model's pods: the version that they serve."""
WANTED: Final = f"{GROUP}/wanted"
"""Annotation of a merged model's pods: what their agent is to serve, mounted as a file."""
RUN: Final = f"{GROUP}/run"
"""Annotation of a trainer pod: its configuration, mounted as a file."""


def owned_by(kind: str, owner: ObjectMeta, component: str) -> dict[str, str]:
    """Return the labels of an object that ``owner`` owns."""
    return {
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/name": "graft",
        "app.kubernetes.io/component": component,
        COMPONENT: component,
        OWNER_KIND: kind,
        OWNER_UID: owner.uid,
    }


def selector(owner: ObjectMeta, component: str) -> dict[str, str]:
    """Return the labels by which the pods of one component of ``owner`` are found."""
    return {OWNER_UID: owner.uid, COMPONENT: component}


def owner_reference(kind: str, owner: ObjectMeta) -> dict[str, Any]:
    """Return the controller reference to ``owner``."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def object_meta(
    kind: str,
    owner: ObjectMeta,
    *,
    name: str,
    component: str,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the metadata of an object that ``owner`` owns."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": owned_by(kind, owner, component) | (labels or {}),
        "annotations": {OWNER_NAME: owner.name} | (annotations or {}),
        "ownerReferences": [owner_reference(kind, owner)],
    }
