"""The conditions of an adapter: one function each, so that every condition is always set, and always true.

| type | polarity | True means |
|---|---|---|
| Stalled | abnormal | nothing will change until a person acts |
| Reconciling | abnormal | work is in progress or awaited |
| Ready | normal | a version answers on every wanted replica (mode None: the current version is published) |
| Accepted | normal | the spec is valid and what it refers to exists |
| Trained | normal | the current spec's recipe is trained |
| Evaluated | normal | the gate let the current version through |
| Published | normal | the current version is committed in the registry |
| Served | normal | the target version answers on every wanted replica |
| UpToDate | normal | what answers was made from the current spec on the current base |
"""

from __future__ import annotations

from datetime import datetime

from graft_operator.api.conditions import Condition, Fact, merge, no, unknown, yes
from graft_operator.plan.gate import GateVerdict
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rollout import Rollout, answering_versions
from graft_operator.plan.verdicts import Verdict


def adapter_conditions(
    seen: AdapterObserved,
    training: Verdict,
    gate: GateVerdict | None,
    rollout: Rollout,
    refusal: str,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return all conditions of the adapter. ``refusal`` says why the pods have refused the current version."""
    serves = seen.adapter.spec.serving.mode != "None"
    refusal = refusal if serves else ""
    stalled = stalled_fact(training, gate, rollout, refusal)
    facts = {
        "Stalled": stalled,
        "Reconciling": reconciling_fact(training, rollout, stalled),
        "Ready": ready_fact(seen, training, rollout) if serves else published_as_ready(training, gate),
        "Accepted": training.accepted,
        "Trained": training.trained,
        "Evaluated": evaluated_fact(gate),
        "Published": published_fact(training),
        "Served": served_fact(rollout) if serves else no("NotWanted", "serving.mode is None"),
        "UpToDate": no("VersionRefused", refusal) if refusal else up_to_date_fact(training, gate, rollout, serves),
    }
    return merge(seen.adapter.status.conditions, facts, generation=seen.adapter.metadata.generation, now=now)


def stalled_fact(training: Verdict, gate: GateVerdict | None, rollout: Rollout, refusal: str) -> Fact:
    """A user error, a version that fails the gate, or one that the pods refuse while nothing else is left."""
    if training.stalled is not None:
        return yes(training.stalled.reason, training.stalled.message)
    if gate is not None and not gate.passed:
        return yes(gate.reason, gate.message)
    if refusal:
        return yes("VersionRefused", refusal)
    if rollout.coverage.refused:
        return yes("VersionRefused", rollout.coverage.message)
    return no("Progressing")


def reconciling_fact(training: Verdict, rollout: Rollout, stalled: Fact) -> Fact:
    """kstatus reads Reconciling before Stalled, so both are never True."""
    if stalled.status == "True":
        return no("Stalled")
    if training.waiting is not None:
        return yes(training.waiting.reason, training.waiting.message)
    if rollout.target is not None and not rollout.coverage.complete:
        return yes("RollingOut", rolling_message(rollout))
    return no("Settled")


def ready_fact(seen: AdapterObserved, training: Verdict, rollout: Rollout) -> Fact:
    """Ready is about answers, not about intentions: an old version that answers is Ready, though not UpToDate."""
    answering = rollout.answering
    if answering is not None:
        return yes("Serving", f"version {answering.number} answers on every wanted replica")
    if mixed := answering_versions(rollout, seen.base, seen.pods):
        numbers = " or ".join(map(str, mixed))
        return yes("Serving", f"version {numbers} answers on every wanted replica")
    if rollout.target is not None:
        return no("RollingOut", rolling_message(rollout))
    fact = training.stalled or training.waiting or training.trained
    return no(fact.reason, fact.message)


def published_as_ready(training: Verdict, gate: GateVerdict | None) -> Fact:
    """Without serving, an adapter is ready when its current version is published and passed the gate."""
    if training.current is not None and gate is not None and gate.passed:
        return yes("Published", f"version {training.current.manifest.number} is published")
    return no(training.trained.reason, training.trained.message)


def evaluated_fact(gate: GateVerdict | None) -> Fact:
    """Say what the gate said of the current version."""
    if gate is None:
        return unknown("NotTrained", "there is no version of the current spec yet")
    return yes(gate.reason, gate.message) if gate.passed else no(gate.reason, gate.message)


def published_fact(training: Verdict) -> Fact:
    """Say which version the registry holds for the current spec."""
    if training.current is None:
        return no("NotTrained", "there is no version of the current spec yet")
    return yes("Published", f"version {training.current.manifest.number}")


def served_fact(rollout: Rollout) -> Fact:
    """Say whether the target answers everywhere."""
    if rollout.target is None:
        return no("NoVersion", "there is no version to serve yet")
    if rollout.coverage.complete:
        return yes("Served", f"version {rollout.target.number} on {rollout.coverage.loaded} replicas")
    return no("RollingOut", rolling_message(rollout))


def up_to_date_fact(training: Verdict, gate: GateVerdict | None, rollout: Rollout, serves: bool) -> Fact:
    """Say whether what answers is what the spec and the base ask for."""
    if training.current is None:
        return no(training.trained.reason, training.trained.message)
    if training.trained.reason == "KeptOnOldBase":
        return no("KeptOnOldBase", training.trained.message)
    if gate is not None and not gate.passed:
        return no(gate.reason, gate.message)
    number = training.current.manifest.number
    if not serves or (rollout.answering is not None and rollout.answering.number == number):
        return yes("UpToDate", f"version {number}")
    return no("RollingOut", f"version {number} is not served everywhere yet")


def rolling_message(rollout: Rollout) -> str:
    """Return how far the rollout is, and what the first failing pod says."""
    number = rollout.target.number if rollout.target else 0
    coverage = rollout.coverage
    if coverage.desired == 0:
        return f"version {number}: serving.replicas of the base is 0"
    text = f"version {number} answers on {coverage.loaded} of {coverage.desired} replicas"
    return f"{text}; {coverage.message}" if coverage.message else text
