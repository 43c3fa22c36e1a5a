"""What a person should know about a base or an adapter: whether it is blocked, and what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from graft_cli.client.objects import Adapter, Base
from graft_cli.decisions.gitops import how_to_unset
from graft_operator.api.conditions import PINNED, Condition, find

Mood = Literal["good", "busy", "bad", "plain"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know. ``kind`` is a word for programs, ``reason`` the operator's own where there is one."""

    kind: Literal["Blocked", "Waiting", "NotReady", "NotUpToDate", "Advice", "Unseen", "Unreadable", "Spec"]
    reason: str
    message: str
    mood: Mood


UNSEEN: Final = "the operator has not looked at it yet; `kubectl graft doctor` tells whether it runs"
ASIDE: Final = ("GatewayReady", "ConcurrencyTested", "RegistrySafe")
"""Conditions of a base that Ready does not depend on."""


def findings_of_adapter(adapter: Adapter) -> tuple[Finding, ...]:
    """Return what is to be known of an adapter, the gravest first."""
    conditions = adapter.status.conditions
    found = [*_of_object(adapter), *_summary(conditions)]
    told = {finding.message for finding in found}
    behind = find(conditions, "UpToDate")
    if behind is not None and behind.status == "False" and not _repeats(behind, told, found):
        mood: Mood = "plain" if behind.reason == PINNED else "busy"  # a pin stays until somebody removes it
        found.append(Finding("NotUpToDate", behind.reason, behind.message, mood))
    accepted = find(conditions, "Accepted")
    if accepted is not None and accepted.status == "True" and accepted.reason == "AcceptedWithAdvice":
        found += [Finding("Advice", "", sentence, "plain") for sentence in re.split(r"; (?=spec\.)", accepted.message)]
    evaluated = find(conditions, "Evaluated")
    if evaluated is not None and evaluated.status == "True" and evaluated.reason == "SameAsBase":
        found.append(Finding("Advice", evaluated.reason, evaluated.message, "plain"))
    return (*found, *_of_spec(adapter))


def findings_of_base(base: Base) -> tuple[Finding, ...]:
    """Return what is to be known of a base, the gravest first."""
    conditions, status = base.status.conditions, base.status
    found = [*_of_object(base), *_summary(conditions)]
    told = {finding.message for finding in found}
    for kind in ASIDE:
        condition = find(conditions, kind)
        if condition is not None and condition.status == "False" and condition.message not in told:
            found.append(Finding("NotReady", condition.reason, condition.message, "busy"))
    if status.readaptation.queued and status.readaptation.waiting_for:
        message = f"{status.readaptation.queued} adapters wait to be re-adapted: {status.readaptation.waiting_for}"
        found.append(Finding("Waiting", "ReadaptationQueued", message, "busy"))
    return tuple(found)


def _of_object(thing: Adapter | Base) -> list[Finding]:
    if thing.problem:
        return [Finding("Unreadable", "", thing.problem, "bad")]
    observed, generation = thing.status.observed_generation, thing.metadata.generation
    if thing.metadata.is_deleting:  # which counts as a new generation, too
        return [Finding("Waiting", "Deleting", "it is being deleted", "busy")]
    if not thing.status.conditions:
        return [Finding("Unseen", "", UNSEEN, "busy")]
    if observed < generation:
        message = f"the operator has seen generation {max(observed, 0)} of the spec, not yet {generation}"
        return [Finding("Unseen", "", message, "busy")]
    return []


def _summary(conditions: Iterable[Condition]) -> list[Finding]:
    """Return what Stalled, Reconciling or else Ready say: never the same twice."""
    conditions = tuple(conditions)
    stalled, reconciling, ready = (find(conditions, kind) for kind in ("Stalled", "Reconciling", "Ready"))
    if stalled is not None and stalled.status == "True":
        return [Finding("Blocked", stalled.reason, stalled.message, "bad")]
    if reconciling is not None and reconciling.status == "True":
        return [Finding("Waiting", reconciling.reason, reconciling.message, "busy")]
    if ready is not None and ready.status != "True":
        return [Finding("NotReady", ready.reason, ready.message, "bad")]
    return []


def _repeats(condition: Condition, told: set[str], found: Iterable[Finding]) -> bool:
    """Whether the condition says what is said already."""
    return condition.message in told or any(finding.reason == condition.reason for finding in found)


def _of_spec(adapter: Adapter) -> list[Finding]:
    """Return the decisions of a person that the spec holds: a pin, a suspension."""
    found = []
    if adapter.pinned is not None:
        way = how_to_unset(adapter.raw, "spec.version", "unpin")
        message = f"spec.version pins version {adapter.pinned}; nothing is trained until {way}"
        found.append(Finding("Spec", "Pinned", message, "plain"))
    if adapter.spec.get("suspend"):
        way = how_to_unset(adapter.raw, "spec.suspend", "resume")
        message = f"spec.suspend is true; no new training starts until {way}"
        found.append(Finding("Spec", "Suspended", message, "plain"))
    return found
