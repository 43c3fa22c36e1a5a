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
| UpToDate | normal | what answers, or will once it is loaded on demand, was made from the current spec and base |
| SourceChecked | normal | the last look at the source has told what it holds; only with ``source.interval`` |

An adapter whose ``spec.version`` names another version than its spec asks for is Ready and settled, but not UpToDate.
"""

from __future__ import annotations

from datetime import datetime

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.conditions import Condition, Fact, merge, no, unknown, yes
from graft_operator.plan.adapter.advice import advice, limit_advice, served_advice
from graft_operator.plan.adapter.pins import pinned_fact
from graft_operator.plan.imports.checks import UNSERVABLE, bound_fact
from graft_operator.plan.rollout.messages import (
    NO_VERSION,
    absent_fact,
    answering_versions,
    is_on_demand,
    rolling_fact,
    served_fact,
)
from graft_operator.plan.rollout.plan import Rollout
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.gate import GateDecision
from graft_operator.plan.training.versions import entry_of


def adapter_conditions(
    seen: AdapterSnapshot,
    training: TrainingDecision,
    gate: GateDecision | None,
    rollout: Rollout,
    rollback: Fact | None,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return all conditions of the adapter. ``rollback`` says why the current version was given up by the pods."""
    serves = seen.adapter.spec.serving.mode != "None"
    rollback = rollback if serves else None
    stalled = stalled_fact(seen, training, gate, rollout, rollback)
    facts = {
        "Stalled": stalled,
        "Reconciling": reconciling_fact(seen, training, rollout, stalled),
        "Ready": ready_fact(seen, training, rollout) if serves else published_as_ready(training, gate),
        "Accepted": accepted_fact(seen, training, rollout.answering),
        "Trained": training.trained,
        "Evaluated": evaluated_fact(gate),
        "Published": published_fact(training),
        "Served": served_fact(seen, rollout, rollback) if serves else no("NotWanted", "serving.mode is None"),
        "UpToDate": rollback or up_to_date_fact(seen, training, gate, rollout),
    }
    before = seen.adapter.status.conditions
    facts |= undecided(seen, training, answers=facts["Ready"].status == "True")
    if rollout.coverage.refused:  # a training that has failed is not what keeps this version from answering
        facts["Ready"] = unless_stalled(facts["Ready"], refused_fact(training, rollout, rollback))
    elif rollout.target is None:  # else its own pods keep it from answering
        facts["Ready"] = unless_stalled(facts["Ready"], facts["Stalled"])
    return merge(before, facts, generation=seen.adapter.metadata.generation, now=now)


def undecided(seen: AdapterSnapshot, training: TrainingDecision, *, answers: bool) -> dict[str, Fact]:
    """Return what stays told while the registry can't be asked: it was true, and nothing says that it is not.

    That it can't be asked is told by Reconciling, or by Stalled where it does not pass. While it is merely being asked,
    not even that is said: it takes a moment, and every new spec begins with it.
    """
    if seen.unknown is None or training.current is not None:
        return {}
    told = {item.type: Fact(item.status, item.reason, item.message) for item in seen.adapter.status.conditions}
    types = ["Evaluated", "Published", "UpToDate", *(("Trained",) if training.trained.status == "Unknown" else ())]
    if not seen.unknown.reason and training.stalled is None and training.waiting is not None:
        types += ["Stalled", "Reconciling"] if training.trained.status == "Unknown" else []
    kept = {kind: told[kind] for kind in types if kind in told}
    if "UpToDate" in kept and kept["UpToDate"].status == "True" and not answers:
        kept["UpToDate"] = no("RollingOut", "no version answers on every wanted replica now")
    return kept


def stalled_fact(
    seen: AdapterSnapshot,
    training: TrainingDecision,
    gate: GateDecision | None,
    rollout: Rollout,
    rollback: Fact | None,
) -> Fact:
    """A user error, a version that fails the gate or was given up, or one that is refused while there is no other."""
    if training.stalled is not None:
        return yes(training.stalled.reason, training.stalled.message)
    if gate is not None and not gate.passed and training.raised_rank is None:
        return yes(gate.reason, f"{gate.message_and_advice}{promoted_in_vain(seen, training, gate)}")
    if rollback is not None:
        return yes(rollback.reason, rollback.message)
    if rollout.coverage.refused:
        return refused_fact(training, rollout, rollback)
    return no("Progressing")


def refused_fact(training: TrainingDecision, rollout: Rollout, rollback: Fact | None) -> Fact:
    """Say why the pods refuse the target: as it is remembered with what follows, where it is the current version."""
    current, target = training.current, rollout.target
    is_current = current is not None and target is not None and current.manifest.number == target.number
    if is_current and rollback is not None:
        return yes(rollback.reason, rollback.message)
    return yes("VersionRefused", rollout.coverage.message)


def promoted_in_vain(seen: AdapterSnapshot, training: TrainingDecision, gate: GateDecision) -> str:
    """Return what to say of a promotion of a version that its gate has rejected; empty where nobody asks for one."""
    promoted = seen.adapter.spec.serving.rollout.promote
    if training.current is None or training.current.manifest.number != promoted:
        return ""
    text = f"; spec.serving.rollout.promote names version {promoted}, but is for canaries and versions that were rolled"
    # What no engine can load is not served for a pin, either.
    way_out = "" if gate.reason in UNSERVABLE else ": spec.version serves it whatever its gate says"
    return f"{text} back{way_out}"


def reconciling_fact(seen: AdapterSnapshot, training: TrainingDecision, rollout: Rollout, stalled: Fact) -> Fact:
    """kstatus reads Reconciling before Stalled, so both are never True."""
    if stalled.status == "True":
        return no("Stalled")
    if training.waiting is not None:
        return yes(training.waiting.reason, training.waiting.message)
    if rollout.target is not None and not rollout.done and not rollout.absent:
        rolling = rolling_fact(seen, rollout)
        return yes(rolling.reason, rolling.message)
    return no("Settled")


def ready_fact(seen: AdapterSnapshot, training: TrainingDecision, rollout: Rollout) -> Fact:
    """Ready is about answers, not about intentions: an old version that answers is Ready, though not UpToDate."""
    answering = rollout.answering
    if answering is not None:
        return yes("Serving", f"version {answering.number} answers on every wanted replica")
    if rollout.absent:
        return absent_fact(seen, rollout)
    if mixed := answering_versions(seen, rollout):
        numbers = " or ".join(map(str, mixed))
        return yes("Serving", f"version {numbers} answers on every wanted replica")
    if rollout.target is not None:
        return rolling_fact(seen, rollout)
    return without_version(training)


def unless_stalled(ready: Fact, stalled: Fact) -> Fact:
    """Return Ready in the words of what keeps it from coming true: ``kubectl get`` shows no other condition's."""
    return no(stalled.reason, stalled.message) if stalled.status == "True" and ready.status != "True" else ready


def without_version(training: TrainingDecision) -> Fact:
    """Say why there is no version to serve, never in the words of a training that is done."""
    fact = training.stalled or training.waiting or training.trained
    return no("NoVersion", NO_VERSION) if fact.status == "True" else no(fact.reason, fact.message)


def published_as_ready(training: TrainingDecision, gate: GateDecision | None) -> Fact:
    """Without serving, an adapter is ready when its current version is published and passed the gate."""
    if training.current is not None and gate is not None and gate.passed:
        return yes("Published", f"version {training.current.manifest.number} is published")
    return without_version(training)


def evaluated_fact(gate: GateDecision | None) -> Fact:
    """Say what the gate said of the current version."""
    if gate is None:
        return unknown("NotTrained", "there is no version of the current spec yet")
    if gate.passed and gate.advice:
        return yes("SameAsBase", gate.message_and_advice)
    return yes(gate.reason, gate.message) if gate.passed else no(gate.reason, gate.message)


def published_fact(training: TrainingDecision) -> Fact:
    """Say which version the registry holds for the current spec."""
    if training.current is None:
        return no("NotTrained", "there is no version of the current spec yet")
    return yes("Published", f"version {training.current.manifest.number} is committed in the registry")


def accepted_fact(seen: AdapterSnapshot, training: TrainingDecision, answering: ServedVersion | None = None) -> Fact:
    """Say what is wrong with the spec, or else what should be looked at again, in it or in what answers."""
    entry = entry_of(seen.adapter.status.versions, answering.number) if answering is not None else None
    spec = seen.adapter.spec
    # What has passed its gate says nothing for a limit of that gate: the next version is held to it, too.
    of_spec = limit_advice(spec) if has_proved_itself(seen) else advice(spec)
    sentences = (*of_spec, *served_advice(spec, entry))
    if training.accepted.status != "True" or not sentences:
        return training.accepted
    return yes("AcceptedWithAdvice", "; ".join(sentences))


def has_proved_itself(seen: AdapterSnapshot) -> bool:
    """Whether a version of the spec has passed its gate: then its values were meant, however seldom they are."""
    status = seen.adapter.status
    recipe = seen.recipe or status.recipe
    return any(version.recipe == recipe and version.state == "Published" for version in status.versions)


def kept_on_old_base(seen: AdapterSnapshot) -> Fact | None:
    """Say that the adapter stays behind its base, and why; None when it doesn't."""
    if seen.base is None or seen.kept_base is None:
        return None
    return bound_fact(seen) or no(
        "KeptOnOldBase",
        f"BaseModel {seen.base.metadata.name} has changed and its readaptation.policy is Never: the adapter is trained"
        f" and served on revision {seen.kept_base.revision}",
    )


def up_to_date_fact(
    seen: AdapterSnapshot, training: TrainingDecision, gate: GateDecision | None, rollout: Rollout
) -> Fact:
    """Say whether what answers is what the spec and the base ask for."""
    if training.current is None:
        return no(training.trained.reason, training.trained.message)
    if gate is not None and not gate.passed:
        return no(gate.reason, gate.message)
    number = training.current.manifest.number
    serves = seen.adapter.spec.serving.mode != "None"
    comes = is_on_demand(seen, rollout) and not rollout.coverage.refused
    answering = rollout.target if comes else rollout.answering_in_mode
    if not serves or (answering is not None and answering.number == number):
        return pinned_fact(seen) or kept_on_old_base(seen) or yes("UpToDate", f"version {number}")
    return no("RollingOut", f"version {number} is not served everywhere yet")
