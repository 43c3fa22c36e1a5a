"""When the source of an adapter is looked at again, and what the last look has found.

A look is a small Job. What it has found is in the status before the Job goes, so nothing is lost with the operator.
What was found before stays as it is while a look fails: nobody stops to serve for a hub that is away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from graft_operator.api.adapter_source import AdapterSource, SourceStatus
from graft_operator.api.adapter_status import LoraAdapterStatus, Version
from graft_operator.api.conditions import Fact, merge, no, unknown, yes
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.adapter_source import pull_secret
from graft_operator.manifests.jobs.exit_codes import SOURCE_UNAVAILABLE
from graft_operator.manifests.jobs.resolve_job import look_settings_digest, resolve_job_manifest, resolve_job_name
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import Action, CreateJob, DeleteObject, Plan
from graft_operator.plan.imports.origin import is_of, known_source, source_digest
from graft_operator.plan.jobs import REASON, JobObserved
from graft_operator.plan.pod_problems import problem_of_job
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import is_given_up

CONDITION: Final = "SourceChecked"

PASSING: Final = frozenset({SOURCE_UNAVAILABLE, "RegistryUnavailable"})
"""Failures that end by themselves."""

RETRY: Final = timedelta(minutes=5)
"""After a failure that passes, a source of which nothing is known yet is not left alone for a whole long interval."""

PUNCTUAL: Final = timedelta(minutes=2)
"""A look that comes later than this, and than a tenth of the interval, waits for the next turn: hundreds that were
missed together, while the operator was away, are not made up for together."""

SETTLING_TIME: Final = timedelta(minutes=1)
"""New content is imported once it has stayed the same for so long: an upload may still be under way before."""

RUNNING_SECONDS: Final = 30.0
"""How often a Job that runs is looked at, besides whenever there is news of it."""

ENDING_SECONDS: Final = 5.0
"""How often a Job is looked at that has to go before the next look."""

AWAITED: Final = (
    "it is imported once a second look, a minute later, finds the same; to import it at once, set the annotation"
    f" {labels.RETRY} to another value"
)

EPOCH: Final = datetime.min.replace(tzinfo=UTC)
"""Intervals are counted from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of the source, and what is done to know more."""

    source: SourceStatus | None = None
    fact: Fact | None = None
    """Becomes the condition SourceChecked; None where nothing is looked at again."""
    actions: tuple[Action, ...] = ()
    creations: tuple[Action, ...] = ()
    requeue_after: float | None = None


def decide_look(seen: AdapterSnapshot, now: datetime, platform: Platform) -> Look:
    """Take what a Job has found, wait for one that runs, or create one whose time has come."""
    adapter, job = seen.adapter, seen.resolve_job
    source, known = adapter.spec.source, known_source(seen.adapter, seen.history)
    if source is None or source.interval is None:
        return Look(source=known, actions=(job_deletion(job),) if job else ())
    if job is not None and job.recipe != source_digest(adapter):
        return Look(source=known, fact=source_fact(known), actions=(job_deletion(job),), requeue_after=ENDING_SECONDS)
    if job is None:
        return next_look(seen, source, known, now, platform)
    if job.state == "Active":
        if job.is_stuck and job.pod_settings not in ("", look_settings_digest(adapter, source, platform)):
            return Look(
                source=known, fact=source_fact(known), actions=(job_deletion(job),), requeue_after=ENDING_SECONDS
            )
        problem = problem_of_job(job, now)
        fact = (
            source_fact(known) if problem is None else no(condition_reason(problem[0]), f"Job {job.name}: {problem[1]}")
        )
        return Look(source=known, fact=fact, requeue_after=RUNNING_SECONDS)
    if known is None or known.job != job.uid:
        found = found_by(job, known, adapter, now)
        return Look(source=found, fact=source_fact(found), requeue_after=0)
    later = next_look(replace(seen, resolve_job=None), source, known, now, platform)
    return replace(later, actions=(job_deletion(job),), creations=())


def next_look(
    seen: AdapterSnapshot, source: AdapterSource, known: SourceStatus | None, now: datetime, platform: Platform
) -> Look:
    """Create the Job that looks, if its time has come and the adapter may change at all."""
    adapter, fact = seen.adapter, source_fact(known)
    if adapter.spec.suspend or adapter.spec.version is not None:
        return Look(source=known, fact=fact)  # nothing would come of it
    waits = seconds_to_wait(adapter, source, known, now)
    if waits > 0:
        return Look(source=known, fact=fact, requeue_after=waits)
    if any(item.name == resolve_job_name(adapter, source) for item in seen.occupied_names):
        return Look(source=known, fact=fact, requeue_after=ENDING_SECONDS)
    due = CreateJob(resolve_job_manifest(adapter, source, platform))
    return Look(source=known, fact=fact, creations=(due,), requeue_after=RUNNING_SECONDS)


def seconds_to_wait(adapter: LoraAdapter, source: AdapterSource, known: SourceStatus | None, now: datetime) -> float:
    """Return the seconds until the source is to be looked at; 0 where it is its time now.

    Each adapter has a turn of its own in every interval, by its uid: two hundred that were applied together don't look
    together ever after.
    """
    interval = timedelta(seconds=source.interval_seconds or 0.0)
    if known is None or known.checked_time is None or known.retry != retry_annotation(adapter):
        return 0.0
    if known.reason == "SourceForbidden" and known.pull_secret != (pull_secret(source) or ""):
        return 0.0
    if known.digest is None and known.reason in PASSING:
        return max(0.0, (known.checked_time + min(RETRY, interval) - now).total_seconds())
    if known.pending_digest is not None and known.reason is None:
        return max(0.0, (known.checked_time + SETTLING_TIME - now).total_seconds())
    turn = turn_after(known.checked_time + interval / 2, interval, adapter.metadata.uid)
    if now < turn:
        return (turn - now).total_seconds()
    latest = turn + (now - turn) // interval * interval
    is_punctual = now - latest <= min(interval, max(PUNCTUAL, interval / 10))
    return 0.0 if is_punctual else (latest + interval - now).total_seconds()


def turn_after(time: datetime, interval: timedelta, uid: str) -> datetime:
    """Return the adapter's first turn at or after a time."""
    part = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
    first = EPOCH + interval * part
    return first - (first - time) // interval * interval


def found_by(job: JobObserved, known: SourceStatus | None, adapter: LoraAdapter, now: datetime) -> SourceStatus:
    """Return what is known once a Job has ended; of a look that has failed, what was known before, and why."""
    base = known or SourceStatus(source_digest=source_digest(adapter) or "")
    looked: dict[str, Any] = {"job": job.uid, "checked_time": job.ended_time or now, "retry": retry_annotation(adapter)}
    looked["pull_secret"] = pull_secret(adapter.spec.source) or ""
    if job.state == "Succeeded" and job.outcome_digest:
        looked |= {"reason": None, "message": ""}
        if not is_complete(job.outcome_digest, base, adapter, looked["checked_time"]):
            is_seen = base.pending_digest == job.outcome_digest
            since = base.pending_time if is_seen else looked["checked_time"]
            return base.model_copy(update=looked | {"pending_digest": job.outcome_digest, "pending_time": since})
        looked |= {"digest": job.outcome_digest, "revision": job.outcome_revision}
        looked |= {"pending_digest": None, "pending_time": None}
        is_same = base.digest == job.outcome_digest
        return base.model_copy(update=looked | ({} if is_same else {"base_digest": None}))
    lost = f"Job {job.name} has ended without telling what it found; it is tried again by itself"
    failed = {"reason": job.outcome_reason or SOURCE_UNAVAILABLE, "message": job.outcome_message or lost}
    return base.model_copy(update=looked | failed)


def is_complete(content: str, before: SourceStatus, adapter: LoraAdapter, now: datetime) -> bool:
    """Whether content that a look has found may be imported, and is not half of an upload that goes on.

    It may be imported if an earlier look has found it a minute ago or more, if a person has asked for the look, or if
    it replaces nothing: then nobody is served less well than before.
    """
    if before.digest in (None, content) or before.retry != retry_annotation(adapter):
        return True
    since = before.pending_time
    return before.pending_digest == content and since is not None and now - since >= SETTLING_TIME


def retry_annotation(adapter: LoraAdapter) -> str:
    """Return the value of the annotation by which a person asks for a look; empty where it is not set."""
    return adapter.metadata.annotations.get(labels.RETRY, "")


def source_fact(known: SourceStatus | None) -> Fact:
    """Return the condition ``SourceChecked``: what the last look has found."""
    if known is None or known.checked_time is None:
        return unknown("NotLookedYet", "the source is looked at for the first time")
    if known.reason:
        kept = "what was found before stays" if known.digest else "nothing was found yet"
        again = f"{kept}; to look again at once, set the annotation {labels.RETRY} to another value"
        return no(known.reason, f"{known.message}; {again}")
    if known.pending_digest is not None:
        return yes("Changed", f"the source has changed to {known.pending_digest}; {AWAITED}")
    called = f", revision {known.revision}" if known.revision else ""
    return yes("Resolved", f"the source holds {known.digest}{called}")


def condition_reason(reason: str) -> str:
    """Return a reason that Kubernetes gives, if it is a valid reason of a condition; else ``Resolving``."""
    return reason if REASON.fullmatch(reason) else "Resolving"


def job_deletion(job: JobObserved) -> DeleteObject:
    """Return the deletion of a Job that is done with."""
    return DeleteObject("Job", job.name, job.uid)


def with_look(plan: Plan, look: Look, seen: AdapterSnapshot, now: datetime) -> Plan:
    """Return the plan with what is known of the source put in, and what is done to know more."""
    status, is_named = plan.status, seen.adapter.spec.source is not None
    if not isinstance(status, LoraAdapterStatus):
        return plan
    if not is_named and look == Look() and status.source is None:
        return plan  # it was never imported
    facts = {item.type: Fact(item.status, item.reason, item.message) for item in status.conditions}
    facts.pop(CONDITION, None)
    if look.fact is not None and facts:
        facts[CONDITION] = look.fact
    before = seen.adapter.status.conditions
    conditions = merge(before, facts, generation=seen.adapter.metadata.generation, now=now)
    delays = [delay for delay in (plan.requeue_after, look.requeue_after) if delay is not None]
    return Plan(
        actions=(*plan.actions, *look.actions),
        extras=(*plan.extras, *look.creations),
        status=status.model_copy(
            update={"source": with_home(look.source, seen.adapter, status), "conditions": conditions}
        ),
        requeue_after=min(delays, default=None),
    )


def with_home(source: SourceStatus | None, adapter: LoraAdapter, status: LoraAdapterStatus) -> SourceStatus | None:
    """Return what is known of the source with the base that its content was imported for: that of its best version.

    It outlives the list of versions, of which only the newest are kept.
    """
    named, digest = adapter.spec.source, source_digest(adapter)
    imports = [item for item in status.versions if is_of(item.imported, digest, None)]
    if source is not None and named is not None and named.interval is not None:  # what a look has found holds
        imports = [item for item in imports if item.imported is not None and item.imported.digest == source.digest]
    newest = max(imports, key=lambda item: item.number, default=None)
    if named is None or newest is None or newest.imported is None:
        return source
    found = newest.imported
    same = [item for item in imports if is_of(item.imported, digest, found.digest)]
    target = status.serving.target
    home = best_of(same, live=target.number if target is not None else None)
    if source is None or source.digest != found.digest:
        source = SourceStatus(source_digest=found.source_digest, digest=found.digest)
    return source.model_copy(update={"base_digest": home.base_digest, "revision": found.revision})


def best_of(versions: Iterable[Version], *, live: int | None) -> Version:
    """Return the version that is live, or else the newest one, and one that was given up only where all were."""
    return max(versions, key=lambda item: (item.number == live, not is_given_up(item), item.number))
