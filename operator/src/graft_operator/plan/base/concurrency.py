"""The test whether all adapters of a base can be served at once: when it is due, and what it has found.

A test belongs to a base, an engine and a set of adapters, not to their versions: a new version of an adapter has the
shape of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.base_serving import ConcurrencyResult
from graft_operator.api.conditions import Fact, no, unknown, yes
from graft_operator.plan.actions import Action, DeleteObject
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.digests import digest_of

MEASURED: Final = frozenset({"Passed", "TooSlow", "RequestsFailed"})
"""Reasons with which a test ends that could be carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyDecision:
    """What is known of the current set of adapters, and whether a test is due."""

    fact: Fact | None = None
    """Becomes the condition ConcurrencyTested; None where no test is asked for."""
    result: ConcurrencyResult | None = None
    due: str | None = None
    """Digest of the test that should run now."""
    actions: tuple[Action, ...] = ()


def decide_concurrency_test(seen: BaseSnapshot, resolved: ResolvedBase | None) -> ConcurrencyDecision:
    """Wait until all adapters are where they should be; then test once, and remember."""
    job, known = seen.concurrency_job, seen.base.status.concurrency
    if seen.base.spec.serving.concurrency_test is None or resolved is None:
        return ConcurrencyDecision(actions=deletion(job))
    if seen.base.metadata.is_deleting:  # in the foreground, whatever is made for it now is deleted at once
        return ConcurrencyDecision(result=known, actions=deletion(job))
    digest = identity_of_test(seen, resolved)
    if known is not None and known.digest == digest:
        return ConcurrencyDecision(fact=fact_of(known), result=known, actions=deletion(job))
    if job is not None and job.recipe != digest:
        waiting = unknown("Outdated", "the adapters have changed since the test began; it begins anew")
        return ConcurrencyDecision(fact=waiting, result=known, actions=deletion(job))
    if job is not None and job.state != "Active":
        result = result_of(job, digest)
        return ConcurrencyDecision(fact=fact_of(result), result=result)
    if job is not None:
        running = unknown("Testing", f"Job {job.name}: {job.waiting or 'asks the base and its adapters'}")
        return ConcurrencyDecision(fact=running, result=known)
    if why := why_unsettled(seen):
        return ConcurrencyDecision(fact=unknown("NotSettled", why), result=known)
    return ConcurrencyDecision(fact=unknown("Testing", "the Job of the test is created"), result=known, due=digest)


def identity_of_test(seen: BaseSnapshot, resolved: ResolvedBase) -> str:
    """Return the identity of the test of what is served now."""
    serving, test = seen.base.spec.serving, seen.base.spec.serving.concurrency_test
    return digest_of(
        {
            "base": resolved.digest,
            "adapters": served_adapters(seen),
            "engine": [serving.image, serving.max_loaded_adapters, serving.max_active_adapters, *serving.engine_args],
            "replicas": serving.replicas,
            "test": test.to_wire() if test else None,
        }
    )


def served_adapters(seen: BaseSnapshot) -> list[str]:
    """Return the names of the adapters that have a version to serve, and are there for good.

    Those that are loaded on demand come and go, and asking all of them would take their places from those in use.
    """
    return sorted(
        adapter.name
        for adapter in seen.adapters
        if adapter.target is not None and not adapter.deleting and not adapter.on_demand
    )


def why_unsettled(seen: BaseSnapshot) -> str:
    """Return why a test would measure something that is about to change; empty when nothing is."""
    moving = sorted(adapter.name for adapter in seen.adapters if adapter.deleting or not adapter.is_at_rest)
    if moving:
        return f"waits until every adapter is up to date; not yet: {', '.join(moving[:5])}"
    if not served_adapters(seen):
        return "waits for an adapter to be served"
    if any(not item.settled or item.ready_replicas < item.replicas for item in seen.deployments):
        return "waits until every serving pod is ready"
    return ""


def result_of(job: JobObserved, digest: str) -> ConcurrencyResult:
    """Return what an ended Job has found; one that could not ask at all counts as a test that was not passed."""
    measured = job.outcome_reason in MEASURED
    message = job.outcome_message if measured else f"Job {job.name} failed: {job.outcome_message or job.failure_reason}"
    passed = job.state == "Succeeded" and job.outcome_reason == "Passed"
    return ConcurrencyResult(digest=digest, passed=passed, message=message, completed_time=job.ended_time)


def fact_of(result: ConcurrencyResult) -> Fact:
    """Return the condition of a result."""
    return yes("Passed", result.message) if result.passed else no("NotPassed", result.message)


def deletion(job: JobObserved | None) -> tuple[Action, ...]:
    """Return the deletion of a Job whose result is known or not wanted any more."""
    return (DeleteObject("Job", job.name, job.uid),) if job is not None else ()
