"""Resolving a base's source once and for all: an import Job, or what the registry already knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.base_model import Drift, ResolvedBase
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.conditions import Fact, no, yes
from graft_operator.plan.actions import Action, DeleteObject
from graft_operator.plan.snapshot import BaseSnapshot, JobObserved
from graft_registry.documents import BaseManifest
from graft_registry.training_memory import ModelShape

USER_ERRORS: Final = frozenset({"SourceNotFound", "SourceInvalid", "Forbidden", "InvalidConfig"})
"""Failures of the import that trying again can't mend."""

RETRY_SECONDS: Final = 60.0
"""How long a failed import rests before it is tried again."""


RESOLVED: Final = yes("Resolved")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDecision:
    """What is known of the source, and whether an import Job is due."""

    resolved: ResolvedBase | None
    """The base to train on and serve; the one before while a new source is being resolved."""
    fact: Fact = RESOLVED
    stalled: bool = False
    due: bool = False
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def decide_import(seen: BaseSnapshot, now: datetime) -> ImportDecision:
    """Use what the registry knows of this source; else look at the import Job; else ask for one."""
    old = seen.base.status.resolved
    if seen.manifest is not None:
        resolved = resolved_base(seen)
        done = seen.import_job
        tidy = (DeleteObject("Job", done.name, done.uid),) if done and done.recipe != seen.source_digest else ()
        return ImportDecision(resolved=resolved, fact=yes("Resolved", f"revision {resolved.revision}"), actions=tidy)
    job = seen.import_job
    if job is not None and job.recipe != seen.source_digest:
        stale = DeleteObject("Job", job.name, job.uid)
        return ImportDecision(resolved=old, fact=no("Importing", "the source has changed"), due=True, actions=(stale,))
    if job is None:
        return ImportDecision(resolved=old, fact=no("Importing", "the import Job is created"), due=True)
    if job.state == "Failed":
        return failed_import(seen, job, now)
    if job.state == "Succeeded":
        message = f"Job {job.name} succeeded, but the base is not in the registry; imported again {after_rest(job)}"
        return import_again(old, job, no("BaseMissing", message), now)
    detail = job.waiting or "resolving the source and computing its digest"
    return ImportDecision(resolved=old, fact=no("Importing", f"Job {job.name}: {detail}"), requeue_after=2)


def failed_import(seen: BaseSnapshot, job: JobObserved, now: datetime) -> ImportDecision:
    """User errors stall and name the field; the rest rests and is tried again."""
    old = seen.base.status.resolved
    reason = job.outcome_reason or job.failure_reason or "ImportFailed"
    message = job.outcome_message or f"Job {job.name} failed; see its pod's log"
    if reason in USER_ERRORS:
        fact = no(reason, f"{message}; to try again unchanged, delete Job {job.name}")
        return ImportDecision(resolved=old, fact=fact, stalled=True)
    return import_again(old, job, no(reason, f"{message}; tried again {after_rest(job)}"), now)


def import_again(old: ResolvedBase | None, job: JobObserved, fact: Fact, now: datetime) -> ImportDecision:
    """Let the ended Job rest, then delete it: the next pass creates it anew."""
    rest = RETRY_SECONDS - (now - job.ended_time).total_seconds() if job.ended_time else 0.0
    if rest > 0:
        return ImportDecision(resolved=old, fact=fact, requeue_after=rest)
    again = DeleteObject("Job", job.name, job.uid)
    return ImportDecision(resolved=old, fact=fact, actions=(again,), requeue_after=1)


def after_rest(job: JobObserved) -> str:
    """Return when a Job has rested. A point in time: "in 40 s" would be a new status with every look."""
    return f"after {job.ended_time + timedelta(seconds=RETRY_SECONDS):%H:%M:%S} UTC" if job.ended_time else "now"


def resolved_base(seen: BaseSnapshot) -> ResolvedBase:
    """Return the status entry of what the current source was resolved to."""
    if seen.manifest is None:
        raise ValueError("the source is not resolved")
    return resolved_as(seen.manifest, seen.source_digest).model_copy(update={"drift": drift_of(seen)})


def drift_of(seen: BaseSnapshot) -> Drift | None:
    """Return how far the current base is from the one before; it is kept for as long as the base is current."""
    old, found = seen.base.status.resolved, seen.drift
    if old is not None and seen.manifest is not None and old.digest == seen.manifest.digest:
        return old.drift
    if found is None:
        return None
    change = None if found.relative_change is None else f"{found.relative_change:.4f}"
    return Drift(previous=found.previous, verdict=found.verdict, relative_change=change)


def resolved_as(manifest: BaseManifest, source_digest: str) -> ResolvedBase:
    """Return the status entry of a base that the registry knows."""
    claim = manifest.location.persistent_volume_claim
    return ResolvedBase(
        digest=manifest.digest,
        revision=manifest.revision,
        source_digest=source_digest,
        parameters=manifest.parameters,
        architecture=manifest.fingerprint.architecture,
        quantization=str((manifest.fingerprint.quantization or {}).get("quant_method", "")),
        dtype=manifest.fingerprint.dtype,
        shape=BaseShape.of(ModelShape.of(manifest)),
        claim_name=claim.claim_name if claim else None,
        claim_path=claim.path if claim else None,
    )
