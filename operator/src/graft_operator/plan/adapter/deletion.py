"""What happens when an adapter is deleted: as little as possible is held back, and never for ever.

The versions are given up only after an attempt to delete them has failed: a deletion that began while the operator was
away is old when it is first seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.conditions import Fact, merge, yes
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

RETRY_SECONDS: Final = 30.0
"""Until the next attempt where one has failed."""

STOPPING_SECONDS: Final = 1.0
"""Until it is looked again whether the Jobs are gone and the pods have unloaded the adapter."""


def plan_adapter_deletion(seen: AdapterSnapshot, now: datetime) -> Plan:
    """End training and unload first, then delete the versions, then let the object go."""
    metadata = seen.adapter.metadata
    if CLEANUP_FINALIZER not in metadata.finalizers:
        return Plan()
    release = RemoveFinalizer(CLEANUP_FINALIZER)
    if seen.adapter.spec.deletion_policy == "Retain" or metadata.annotations.get(SKIP_CLEANUP) == "true":
        return Plan(actions=(release,))
    waited = now - metadata.deletion_timestamp if metadata.deletion_timestamp else timedelta()
    if waited > CLEANUP_LIMIT and seen.cleanup_problem:
        gave_up = EmitEvent(
            "Warning",
            "RegistryNotCleaned",
            f"the registry could not be cleaned within {CLEANUP_LIMIT // timedelta(minutes=1)} minutes; the versions"
            f" stay in the bucket: {seen.cleanup_problem}",
        )
        return Plan(actions=(gave_up, release))
    if seen.jobs:
        # A trainer would go on writing, and might publish, into what is being deleted.
        ends = tuple(DeleteObject("Job", job.name, job.uid) for job in seen.jobs)
        return Plan(actions=ends, requeue_after=STOPPING_SECONDS)
    still_loaded = any(pod.versions or pod.active for pod in seen.pods if pod.reachable)
    if still_loaded and waited < UNLOAD_LIMIT:
        return Plan(requeue_after=STOPPING_SECONDS)
    clean = (DeleteVersions(), release)
    if not seen.cleanup_problem:
        return Plan(actions=clean)
    return Plan(actions=clean, status=not_cleaned_yet(seen, now), requeue_after=RETRY_SECONDS)


def not_cleaned_yet(seen: AdapterSnapshot, now: datetime) -> LoraAdapterStatus:
    """Return the status that says what holds the deletion back, until when, and how to end it at once."""
    metadata, status = seen.adapter.metadata, seen.adapter.status
    until = (metadata.deletion_timestamp or now) + CLEANUP_LIMIT
    fact = yes(
        "RegistryNotCleaned",
        f"the versions can't be deleted from the registry: {seen.cleanup_problem}; it is tried until"
        f' {until:%H:%M:%S} UTC; to leave them there at once, set the annotation {SKIP_CLEANUP}: "true"',
    )
    facts = {item.type: Fact(item.status, item.reason, item.message) for item in status.conditions}
    told = merge(status.conditions, facts | {"Reconciling": fact}, generation=metadata.generation, now=now)
    return status.model_copy(update={"conditions": told})
