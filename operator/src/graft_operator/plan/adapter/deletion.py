"""What happens when an object is deleted: as little as possible is held back, and never for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graft_operator.plan.actions import DeleteObject, DeleteVersions, EmitEvent, Plan, RemoveFinalizer
from graft_operator.plan.snapshot import AdapterSnapshot

CLEANUP_FINALIZER: Final = "graft.dev/registry-cleanup"
"""On adapters with ``deletionPolicy: Delete`` only: there is something outside the cluster to clean."""

SKIP_CLEANUP: Final = "graft.dev/skip-cleanup"
"""Annotation ``"true"``: let the object go and leave its versions in the registry."""

UNLOAD_LIMIT: Final = timedelta(minutes=1)
"""How long unloading is waited for; a pod that can't be reached must not hold up a deletion."""

CLEANUP_LIMIT: Final = timedelta(minutes=10)
"""How long the registry is tried; a bucket that is gone must not hold up a namespace for ever."""


def plan_adapter_deletion(seen: AdapterSnapshot, now: datetime) -> Plan:
    """End training and unload first, then delete the versions, then let the object go."""
    metadata = seen.adapter.metadata
    if CLEANUP_FINALIZER not in metadata.finalizers:
        return Plan()
    release = RemoveFinalizer(CLEANUP_FINALIZER)
    if seen.adapter.spec.deletion_policy == "Retain" or metadata.annotations.get(SKIP_CLEANUP) == "true":
        return Plan(actions=(release,))
    waited = now - metadata.deletion_timestamp if metadata.deletion_timestamp else timedelta()
    if waited > CLEANUP_LIMIT:
        gave_up = EmitEvent(
            "Warning",
            "RegistryNotCleaned",
            "the registry could not be cleaned within 10 minutes; the versions stay in the bucket",
        )
        return Plan(actions=(gave_up, release))
    if seen.jobs:
        # A trainer would go on writing, and might publish, into what is being deleted.
        return Plan(actions=tuple(DeleteObject("Job", job.name, job.uid) for job in seen.jobs), requeue_after=1)
    still_loaded = any(pod.versions or pod.active for pod in seen.pods if pod.reachable)
    if still_loaded and waited < UNLOAD_LIMIT:
        return Plan(requeue_after=1)
    return Plan(actions=(DeleteVersions(), release))
