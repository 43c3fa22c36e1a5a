"""The next step of one adapter: train or import what is missing, serve what is good, say what is true."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from graft_operator.api.adapter_status import LoraAdapterStatus, ServedVersion, Version
from graft_operator.api.conditions import PINNED, Fact, no
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import AddFinalizer, ApplyObject, CreateJob, Plan
from graft_operator.plan.adapter.conditions import adapter_conditions
from graft_operator.plan.adapter.deletion import CLEANUP_FINALIZER, plan_adapter_deletion
from graft_operator.plan.adapter.fast_path import is_settled
from graft_operator.plan.adapter.pins import recipe_to_tell
from graft_operator.plan.imports.checks import unservable
from graft_operator.plan.imports.looks import decide_look, with_look
from graft_operator.plan.preparation.due import preparation_is_due
from graft_operator.plan.preparation.wanted import prepared_rows, skipped_preparation
from graft_operator.plan.rollout.merged import fits_mode, merged_actions, merged_endpoint
from graft_operator.plan.rollout.modes import decide_serving, former_seconds_left
from graft_operator.plan.rollout.plan import ABORTED, Rollback, Rollout, served
from graft_operator.plan.rollout.requeue import rollout_requeue, soonest
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.gate import GateDecision, judge
from graft_operator.plan.training.job import training_is_due
from graft_operator.plan.training.plan import decide_training, finished_jobs, superseded_jobs
from graft_operator.plan.training.rank import correct_rank, raised_rank
from graft_operator.plan.training.recipe import spec_digest
from graft_operator.plan.training.recipe_choice import with_candidate, with_rejected
from graft_operator.plan.training.versions import (
    as_first_told,
    comparison_baseline,
    entry_of,
    judged,
    known_versions,
    of_spec,
    record,
    summary,
    with_served,
)
from graft_registry.documents import StoredVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDecision:
    """The version that fulfils the spec, and whether the gate lets it through."""

    current: int | None = None
    gate: GateDecision | None = None
    wanted: ServedVersion | None = None
    versions: tuple[Version, ...]

    @property
    def rollback(self) -> Fact | None:
        """Why the version that fulfils the spec was given up by the pods, or because of what it did there."""
        entry = entry_of(self.versions, self.current) if self.current is not None else None
        if entry is None or entry.state not in ("Refused", "RolledBack"):
            return None
        if entry.message == ABORTED:
            return no("RolledBack", f"version {entry.number} is rolled back: {ABORTED}")
        if entry.state == "Refused":
            return no("VersionRefused", f"{entry.message}; it is tried again when the spec changes")
        again = "it is tried again when the spec changes, or when spec.serving.rollout.promote names it"
        return no("RolledBack", f"version {entry.number} was rolled back: {entry.message}; {again}")


def plan_adapter(seen: AdapterSnapshot, now: datetime, platform: Platform) -> Plan:
    """Decide the next step for one adapter. Pure: no I/O, no clock, no randomness.

    A snapshot that holds the choice of a candidate already is planned for as it is.
    """
    adapter = seen.adapter
    if adapter.metadata.is_deleting:
        return plan_adapter_deletion(seen, now)
    if adapter.spec.deletion_policy == "Delete" and CLEANUP_FINALIZER not in adapter.metadata.finalizers:
        return Plan(actions=(AddFinalizer(CLEANUP_FINALIZER),), requeue_after=0)
    return with_look(plan_versions(seen, now, platform), decide_look(seen, now, platform), seen, now)


def plan_versions(seen: AdapterSnapshot, now: datetime, platform: Platform) -> Plan:
    """Decide what is done for the version that the spec asks for."""
    adapter = seen.adapter
    if is_settled(seen):
        ended, seconds = finished_jobs(replace(seen, recipe=adapter.status.recipe), now)
        rests = Rollout(mode=adapter.status.serving.mode_in_force, target=adapter.status.serving.target)
        actions = (*ended, *merged_actions(seen, rests, platform))  # others may have edited what it runs by
        return Plan(actions=actions, status=adapter.status, requeue_after=seconds)
    seen = with_candidate(seen) if seen.recipe is None else seen
    if seen.unknown is not None and not seen.unknown.reason and not adapter.status.conditions:
        return Plan()  # nothing is known yet, and nothing was said before: the answers are on their way
    training = decide_training(seen, now) or preparation_is_due(seen, platform) or training_is_due(seen, platform)
    judgement = judge_current(seen, training)
    training = correct_rank(seen, training, judgement.gate)
    rollout = decide_serving(seen, judgement.wanted, now)
    if rollout.rollback is not None:
        judgement = replace(judgement, versions=remember(judgement.versions, rollout.rollback))
    creations = tuple(action for action in training.actions if isinstance(action, CreateJob | ApplyObject))
    deletions = tuple(action for action in training.actions if action not in creations)
    return Plan(
        actions=(*superseded_jobs(seen), *deletions, *merged_actions(seen, rollout, platform)),
        extras=creations,
        status=adapter_status(seen, training, judgement, rollout, now),
        requeue_after=soonest(
            training.requeue_after, rollout_requeue(rollout, seen, now), former_seconds_left(seen, rollout.former, now)
        ),
    )


def judge_current(seen: AdapterSnapshot, training: TrainingDecision) -> VersionDecision:
    """Run the gate over the version that fulfils the spec; a version that ``spec.version`` pins passes without it."""
    versions = known_versions(seen.adapter.status.versions, seen.history, seen.verdicts)
    versions = with_rejected(versions, seen.rejected, comparison_baseline(seen), seen.adapter.spec.evaluation)
    current = training.current
    if current is None:
        return VersionDecision(versions=versions)
    number = current.manifest.number
    known = None if has_another_chance(seen, number) else entry_of(versions, number)
    if seen.adapter.spec.version is not None:
        text = f"spec.version pins version {number}, so no limit of spec.evaluation is applied to it"
        gate = GateDecision(True, PINNED, f"{text}; remove spec.version to apply the limits again")
    else:
        before = comparison_baseline(seen)
        gate = judge(current.manifest, before.manifest if before else None, seen.adapter.spec.evaluation)
        gate = unservable(seen, current) or gate
        gate = as_first_told(gate, entry_of(versions, number))
    entry = summary(current, "RolledBack", ABORTED) if is_aborted(seen, number) else judged(current, gate, known)
    wanted = served(current) if entry.state == "Published" and fits_mode(seen, current) else None
    if wanted is None and seen.adapter.status.serving.target is None:
        wanted = served_before_it(seen, versions, number)
    entry = of_spec(entry, seen.recipe, spec_digest(seen.adapter.spec))
    return VersionDecision(current=number, gate=gate, wanted=wanted, versions=record(versions, entry))


def has_another_chance(seen: AdapterSnapshot, number: int) -> bool:
    """Whether a version that was given up is tried again: the spec has changed since, or names it.

    An object that was made anew has an observed generation of none: its spec is the one that the verdict was about.
    """
    status, spec = seen.adapter.status, seen.adapter.spec
    spec_has_changed = 0 <= status.observed_generation != seen.adapter.metadata.generation
    return spec_has_changed or spec.serving.rollout.promote == number


def served_before_it(seen: AdapterSnapshot, versions: tuple[Version, ...], number: int) -> ServedVersion | None:
    """Return what is served in place of a version that was given up before this object was made: the one before it."""
    for stored in seen.history:
        entry, older = entry_of(versions, stored.manifest.number), stored.manifest.number < number
        fits = older and fits_mode(seen, stored) and is_on_present_base(seen, stored)
        is_good = entry is not None and entry.state == "Published"
        if fits and is_good and judge(stored.manifest, None, seen.adapter.spec.evaluation).passed:
            return served(stored)
    return None


def is_on_present_base(seen: AdapterSnapshot, stored: StoredVersion) -> bool:
    """Whether the version belongs to the base that new ones are trained on."""
    return seen.training_base is not None and stored.manifest.base.digest == seen.training_base.digest


def is_aborted(seen: AdapterSnapshot, number: int) -> bool:
    """Whether a person wants the version rolled back; one that has long taken over has nothing to go back to."""
    spec, serving = seen.adapter.spec, seen.adapter.status.serving
    settled = serving.target is not None and serving.target.number == number and serving.previous is None
    return spec.serving.rollout.abort == number and spec.version is None and not settled


def remember(versions: tuple[Version, ...], rollback: Rollback) -> tuple[Version, ...]:
    """Remember that a version was given up, so that it is not tried again until the spec changes."""
    known = entry_of(versions, rollback.version.number)
    if known is None:
        return versions
    return record(versions, known.model_copy(update={"state": rollback.state, "message": rollback.message}))


def adapter_status(
    seen: AdapterSnapshot,
    training: TrainingDecision,
    judgement: VersionDecision,
    rollout: Rollout,
    now: datetime,
) -> LoraAdapterStatus:
    """Return the whole status; what has not changed keeps its value, so that an equal status is not written."""
    old, rolling = seen.adapter.status, rollout.target is not None and not rollout.done and not rollout.absent
    answering = rollout.answering_in_mode if rollout.mode == "MultiAdapter" else None
    undecided = seen.unknown is not None and training.current is None
    return LoraAdapterStatus(
        # What can't be decided yet is not observed: whoever waits for this generation waits on.
        observed_generation=old.observed_generation if undecided else seen.adapter.metadata.generation,
        conditions=adapter_conditions(seen, training, judgement.gate, rollout, judgement.rollback, now),
        recipe=old.recipe if undecided and training.progress is None else recipe_to_tell(seen),
        versions=with_served(judgement.versions, answering.number if answering else None),
        served_version=served_number(seen, rollout),
        candidate_version=rollout.target.number if rolling and rollout.target else None,
        training=training.progress,
        failed_trainings=training.failed,
        prepared_rows=prepared_rows(seen),
        skipped_preparation=training.skipped or skipped_preparation(seen),
        chosen_method=old.chosen_method,
        raised_rank=training.raised_rank or raised_rank(seen.adapter),
        serving=old.serving.model_copy(
            update={
                "mode": rollout.mode,
                "former": rollout.former,
                "target": rollout.target,
                "previous": rollout.previous,
                "rollout": rollout.progress,
                "endpoint": merged_endpoint(seen, rollout),
                "desired": rollout.coverage.desired,
                "loaded": rollout.coverage.loaded,
                "failed": rollout.coverage.failed,
                "message": rollout.coverage.message,
            }
        ),
    )


def served_number(seen: AdapterSnapshot, rollout: Rollout) -> int | None:
    """Return the version that answers everywhere, or the last that did while some replica still answers with it."""
    if rollout.answering is not None:
        return rollout.answering.number
    if rollout.absent:
        return None
    served = seen.adapter.status.served_version
    return served if any(pod.ready and served in pod.active for pod in (*seen.pods, *seen.merged_pods)) else None
