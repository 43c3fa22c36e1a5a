"""What the registry's store promises, as a base tells it. Pure."""

from __future__ import annotations

from typing import Final

from graft_operator.api.conditions import Fact, find, no, unknown, yes
from graft_operator.plan.known import Unknown
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.documents import Finding, StoreReport

MOST_CHARACTERS: Final = 2000
"""Of a message; `python -m graft_registry doctor` says the rest."""


def registry_fact(seen: BaseSnapshot) -> Fact:
    """Say whether versions are safe in the store, what is missing, and what follows from that."""
    if isinstance(seen.store_report, Unknown):
        told = find(seen.base.status.conditions, "RegistrySafe")
        if told is not None:
            return Fact(told.status, told.reason, told.message)
        return unknown("NotProbed", "the operator has not tried yet what the bucket can do")
    if seen.store_report.value is None:
        return unknown("NotProbed", "the bucket refuses the operator, so it could not try what the bucket can do")
    return store_fact(seen.store_report.value)


def store_fact(report: StoreReport) -> Fact:
    """Say it of one report: what is missing makes a store unsafe, and what is only less safe is added."""
    missing, others = report.of("Failed"), report.of("Warning")
    if report.conditional_writes is None:
        nothing = "the operator may not write to the registry's bucket, so it could not try"
        return unknown("NotProbed", sentences(nothing, missing))
    if not report.conditional_writes:
        ignored = "the bucket does not honour If-None-Match, so it is safe with one writer only"
        return no("ConditionalWritesIgnored", sentences(ignored, (*others, *missing)))
    if missing:
        return no("StoreUnfit", sentences("the store or its key lacks what Graft needs", (*missing, *others)))
    return yes("ConditionalWrites", sentences("the bucket honours If-None-Match", others))


def sentences(first: str, findings: tuple[Finding, ...]) -> str:
    """Return one message, not longer than people read."""
    return ". ".join((first, *(finding.sentence() for finding in findings)))[:MOST_CHARACTERS]
