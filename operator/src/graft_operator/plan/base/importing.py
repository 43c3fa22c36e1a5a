"""Resolving a base's source once and for all: an import Job, or what the registry already knows.

A registry that can't be asked holds up nothing that is served: the base stays what its status says it is resolved to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.base_model import Drift, FailedImports, ResolvedBase
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.base_source import BaseSource
from graft_operator.api.conditions import Fact, find, is_true, no, unknown, yes
from graft_operator.manifests.jobs.import_job import import_settings_digest
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import Action, DeleteObject
from graft_operator.plan.jobs import REASON, JobObserved
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.pod_problems import problem_of_job
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.digests import digest_of
from graft_registry.documents import BaseManifest
from graft_registry.models.training_memory import ModelShape

USER_ERRORS: Final = frozenset({"SourceNotFound", "SourceInvalid", "Forbidden", "InvalidConfig"})
"""Failures of the import that trying again can't mend."""

PASSING: Final = frozenset({"RegistryUnavailable"})
"""Failures that end by themselves, however often they come."""

RETRY_SECONDS: Final = 60.0
"""How long a failed import rests before it is tried again."""

EQUAL_FAILURES: Final = 3
"""Jobs that may fail in one and the same way before a person has to look."""

RUNNING_SECONDS: Final = 30.0
"""How often a Job that runs is looked at, besides whenever there is news of it."""

LOOKING: Final = unknown("Resolving", "the registry is being asked whether it knows the source")
RESOLVED: Final = yes("Resolved")
READING_DRIFT: Final = "the new base is imported; it takes over once it is known how far it is from the one before"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDecision:
    """What is known of the source, and whether an import Job is due."""

    resolved: ResolvedBase | None
    """The base to train on and serve; the one before while a new source is being resolved."""
    fact: Fact = RESOLVED
    trouble: Fact | None = None
    """What keeps the registry from being asked while the base goes on as it was resolved."""
    stalled: bool = False
    due: bool = False
    failed: FailedImports | None = None
    """How often imports of this source have failed in a row."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def decide_import(seen: BaseSnapshot, now: datetime, platform: Platform) -> ImportDecision:
    """Use what the registry knows of this source; else look at the import Job; else ask for one."""
    if isinstance(seen.manifest, Unknown):
        return registry_is_unknown(seen, seen.manifest)
    if seen.manifest.value is not None:
        return source_is_resolved(seen, seen.manifest.value)
    old, job, failed = seen.base.status.resolved, seen.import_job, seen.base.status.failed_imports
    if job is not None and job.recipe != seen.source_digest:
        stale = DeleteObject("Job", job.name, job.uid)
        return ImportDecision(
            resolved=old, fact=no("Importing", "spec.source has changed: its import begins"), due=True, actions=(stale,)
        )
    if job is None:
        fact = no("Importing", "the import Job is created")
        return ImportDecision(resolved=old, fact=fact, due=True, failed=failed)
    if job.is_stuck and job.pod_settings not in ("", import_settings_digest(seen.base, platform)):
        again = DeleteObject("Job", job.name, job.uid)
        fact = no("Importing", "the settings of the import's pod have changed: the import begins again")
        return ImportDecision(resolved=old, fact=fact, actions=(again,), requeue_after=1)
    if job.state == "Failed":
        return failed_import(seen, job, now, inputs_of(seen, platform))
    if job.state == "Succeeded":
        message = (
            f"Job {job.name} succeeded, but the base is not in the registry; it is imported again {after_rest(job)}"
        )
        return import_again(old, job, no("BaseMissing", message), now)
    fact = running(job, now, seen.base.spec.source)
    return ImportDecision(resolved=old, fact=fact, failed=failed, requeue_after=RUNNING_SECONDS)


def registry_is_unknown(seen: BaseSnapshot, manifest: Unknown) -> ImportDecision:
    """Go on with the base that the status knows, and start nothing: the registry may know the source already."""
    status = seen.base.status
    trouble = trouble_with(manifest)
    before = find(status.conditions, "Resolved")
    if status.resolved is not None and status.resolved.source_digest == seen.source_digest:
        fact, stalled = yes("Resolved", f"revision {status.resolved.revision}"), not manifest.is_transient
    elif trouble is None and before is not None and before.status != "True":
        # While the first look is under way nothing is told that was not told before.
        fact, stalled = Fact(before.status, before.reason, before.message), is_true(status.conditions, "Stalled")
    else:
        fact, stalled = trouble or LOOKING, not manifest.is_transient
    return ImportDecision(
        resolved=status.resolved,
        fact=fact,
        trouble=trouble,
        stalled=stalled,
        failed=status.failed_imports,
    )


def trouble_with(manifest: Unknown) -> Fact | None:
    """Return why the registry does not say what it knows of the source; None while it is just being asked."""
    if manifest.is_transient:
        return no(manifest.reason, manifest.message) if manifest.reason else None
    return no(
        manifest.reason or "RegistryCorrupt",
        f"{manifest.message}: restore the object from a backup of the bucket, or delete it, and the base is imported"
        " again; what is served goes on meanwhile",
    )


def source_is_resolved(seen: BaseSnapshot, manifest: BaseManifest) -> ImportDecision:
    """Move to what the source was resolved to, once it is known how far that is from the base before."""
    old, done = seen.base.status.resolved, seen.import_job
    if (
        isinstance(seen.drift, Unknown)
        and seen.drift.is_transient
        and old is not None
        and old.digest != manifest.digest
    ):
        # It is told once, when the status moves to the new base.
        fact = no(seen.drift.reason, seen.drift.message) if seen.drift.reason else no("Importing", READING_DRIFT)
        return ImportDecision(resolved=old, fact=fact)
    # One that has done its work and yet runs on, for a container that others have put into its pod, ends here.
    is_over = done is not None and (done.recipe != seen.source_digest or done.lingers)
    tidy = (DeleteObject("Job", done.name, done.uid),) if done is not None and is_over else ()
    resolved = resolved_as(manifest, seen.source_digest).model_copy(update={"drift": drift_of(seen, manifest)})
    return ImportDecision(resolved=resolved, fact=yes("Resolved", f"revision {resolved.revision}"), actions=tidy)


def running(job: JobObserved, now: datetime, source: BaseSource) -> Fact:
    """Return what a Job does that has not ended: what keeps it from its work is told in the platform's own words."""
    mounted = source.image.reference if source.image is not None else None
    if (problem := problem_of_job(job, now, "spec.importPod", mounted_image=mounted)) is not None:
        reason, message = problem
        return no(reason if REASON.fullmatch(reason) else "Importing", f"Job {job.name}: {message}")
    return no("Importing", f"Job {job.name}: resolving the source and computing its digest")


def failed_import(seen: BaseSnapshot, job: JobObserved, now: datetime, inputs: str) -> ImportDecision:
    """User errors stall and name the field; so does what has failed in one way again and again; the rest rests."""
    old, known = seen.base.status.resolved, seen.base.status.failed_imports
    reason = job.outcome_reason or job.failure_reason or "ImportFailed"
    message = job.outcome_message or f"Job {job.name} failed; see its pod's log"
    if reason in USER_ERRORS:
        fact = no(reason, f"{message}; to try again unchanged, delete Job {job.name}")
        return ImportDecision(resolved=old, fact=fact, stalled=True)
    if known is not None and known.job == job.uid and known.inputs_digest != inputs:
        again = DeleteObject("Job", job.name, job.uid)
        fact = no("Importing", "the credentials or the image have changed: the import begins again")
        return ImportDecision(resolved=old, fact=fact, actions=(again,), requeue_after=1)
    failed = counted(known, job, reason, inputs)
    if failed.count >= EQUAL_FAILURES and reason not in PASSING:
        fact = no(
            "CrashLoop",
            f"{failed.count} imports have failed in the same way: {reason}: {message}; it is tried again when the"
            f" source, its credentials or the image changes, or when Job {job.name} is deleted",
        )
        return ImportDecision(resolved=old, fact=fact, stalled=True, failed=failed)
    return import_again(old, job, no(reason, f"{message}; it is tried again {after_rest(job)}"), now, failed)


def inputs_of(seen: BaseSnapshot, platform: Platform) -> str:
    """Return the digest of what an import depends on: as long as it is the same, an import ends the same way."""
    credentials = seen.base.spec.credentials_secret_ref
    return digest_of([seen.source_digest, credentials.name if credentials else "", platform.registry_image])


def counted(known: FailedImports | None, job: JobObserved, reason: str, inputs: str) -> FailedImports:
    """Return how often in a row imports have failed so, with this Job; each Job is counted once."""
    if known is not None and known.job == job.uid:
        return known
    is_equal = known is not None and (known.inputs_digest, known.reason) == (inputs, reason)
    count = known.count + 1 if known is not None and is_equal else 1
    return FailedImports(inputs_digest=inputs, job=job.uid, reason=reason, count=count)


def import_again(
    old: ResolvedBase | None, job: JobObserved, fact: Fact, now: datetime, failed: FailedImports | None = None
) -> ImportDecision:
    """Let the ended Job rest, then delete it: the next pass creates it anew."""
    rest = RETRY_SECONDS - (now - job.ended_time).total_seconds() if job.ended_time else 0.0
    if rest > 0:
        return ImportDecision(resolved=old, fact=fact, failed=failed, requeue_after=rest)
    again = DeleteObject("Job", job.name, job.uid)
    return ImportDecision(resolved=old, fact=fact, failed=failed, actions=(again,), requeue_after=1)


def after_rest(job: JobObserved) -> str:
    """Return when a Job has rested. A point in time: "in 40 s" would be a new status with every look."""
    return f"after {job.ended_time + timedelta(seconds=RETRY_SECONDS):%H:%M:%S} UTC" if job.ended_time else "now"


def drift_of(seen: BaseSnapshot, manifest: BaseManifest) -> Drift | None:
    """Return how far the current base is from the one before; it is kept for as long as the base is current."""
    old, found = seen.base.status.resolved, seen.drift.value if isinstance(seen.drift, Known) else None
    if old is not None and old.digest == manifest.digest:
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
