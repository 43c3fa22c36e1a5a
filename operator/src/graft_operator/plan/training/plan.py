"""Which version should exist, and what to do so that it does: an ordered chain of small checks.

The first check that has something to say decides. The order matters and is explained at :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.conditions import no, unknown, yes
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.base.readaptation import may_readapt
from graft_operator.plan.imports.checks import bound_base_is_missing, source_is_unresolved
from graft_operator.plan.imports.origin import is_import
from graft_operator.plan.preparation.giving_up import preparation_is_given_up
from graft_operator.plan.preparation.wanted import unwanted_preparations
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision, refused
from graft_operator.plan.training.job import is_readaptation
from graft_operator.plan.training.memory import gpu_is_too_small
from graft_operator.plan.training.progress import training_is_running
from graft_operator.plan.training.retry_policy import (
    deadline_is_exceeded,
    failures_to_keep,
    job_is_outdated,
    lingering_jobs,
    training_has_failed,
    version_has_vanished,
)
from graft_operator.plan.training.servability import (
    base_cannot_be_merged_into,
    engine_is_too_short,
    pinned_version_fits_other_mode,
    pinned_version_has_no_base,
    rank_exceeds_base,
    reference_is_unusable,
)

Check = Callable[[AdapterSnapshot, datetime], TrainingDecision | None]


def decide_training(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """Return the verdict of the first check that has one; None means that a training Job is due.

    Whatever it is, a suspended adapter holds no GPU, and what has failed is not forgotten before there is a version.
    """
    verdict = next((verdict for check in CHECKS if (verdict := check(seen, now)) is not None), None)
    if verdict is None:
        return None
    if seen.adapter.spec.suspend:
        more = (action for action in stopped_jobs(seen) if action not in verdict.actions)
        verdict = replace(verdict, actions=(*verdict.actions, *more))
    if verdict.failed is None and verdict.current is None:
        verdict = replace(verdict, failed=failures_to_keep(seen))
    return verdict


def base_is_missing(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Without a base there is nothing to train on; GitOps tools may apply it later than the adapter."""
    if seen.base is not None:
        return None
    fact = no("BaseModelNotFound", seen.base_problem)
    return TrainingDecision(accepted=fact, trained=unknown("BaseModelNotFound"), waiting=fact, requeue_after=60)


def version_is_pinned(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """A user has pinned a version with ``spec.version``: nothing is trained while it is set."""
    number = seen.adapter.spec.version
    if number is None:
        return None
    if seen.pinned is None:
        if (silent := registry_is_silent(seen, now)) is not None:
            return silent
        return refused("VersionNotFound", f"spec.version: version {number} is not in the registry; name one that is")
    fact = yes("Pinned", f"spec.version pins version {number}")
    return TrainingDecision(trained=fact, current=seen.pinned, actions=stopped_jobs(seen))


def reference_is_unknown(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """A version that is to be begun with may be there, as long as the registry has not said otherwise."""
    if seen.adapter.spec.training.reference_version is None or seen.reference is not None or is_import(seen):
        return None
    return registry_is_silent(seen, now)


def base_is_unresolved(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """The base's identity goes into the recipe, so it must be known first."""
    if seen.recipe is not None or seen.dataset_problem:
        return None
    name = seen.adapter.spec.base_model_ref.name
    fact = unknown("BaseModelNotResolved", f"waiting for BaseModel {name} to be resolved")
    return TrainingDecision(trained=fact, waiting=fact, requeue_after=60)


def dataset_is_missing(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """A ConfigMap may be applied later than the adapter, so this waits rather than stalls."""
    if not seen.dataset_problem:
        return None
    fact = no("DatasetNotFound", seen.dataset_problem)
    return TrainingDecision(accepted=fact, trained=unknown("DatasetNotFound"), waiting=fact, requeue_after=30)


def version_is_published(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """The recipe is in the registry: trained now, or long ago, or by a cluster that is gone."""
    if seen.published is None or seen.unknown is not None:
        return None  # what it is to be compared with, or what was decided about it, can't be told yet
    number = seen.published.manifest.number
    actions, seconds = finished_jobs(seen, now)
    fact = yes("Trained", f"version {number} was trained from the current spec, data and base")
    if seen.published.manifest.imported is not None:
        fact = yes("Imported", f"version {number} was imported from what the source holds now")
    return TrainingDecision(
        trained=fact,
        current=seen.published,
        actions=actions,
        requeue_after=seconds,
    )


def adapter_is_suspended(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Suspension stops new work; a Job that runs is stopped at its next checkpoint and goes on later."""
    if not seen.adapter.spec.suspend or seen.unknown is not None:
        return None
    fact = no("Suspended", "spec.suspend is true: nothing is trained or imported")
    return TrainingDecision(trained=fact, actions=stopped_jobs(seen))


def suspended_before_resolved(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """Whoever stops a training does not wait for its data or its base; what is wrong with them is told all the same."""
    if seen.recipe is not None or (verdict := adapter_is_suspended(seen, now)) is None:
        return None
    return replace(verdict, accepted=no("DatasetNotFound", seen.dataset_problem)) if seen.dataset_problem else verdict


def registry_is_silent(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Whether the recipe is published already can't be told: then nothing is trained, and nothing is taken for lost."""
    if (why := seen.unknown) is None:
        return None
    fact = unknown(why.reason or "RegistryNotAsked", why.message or "the registry has not been asked yet")
    if why.is_transient:
        return TrainingDecision(trained=fact, waiting=fact)
    return TrainingDecision(trained=fact, stalled=fact)


def readaptation_is_queued(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """A base bump must not start as many Jobs as there are adapters: their base says whose turn it is."""
    if seen.base is None or not is_readaptation(seen) or may_readapt(seen.base.status, seen.adapter.metadata.name):
        return None
    queue = seen.base.status.readaptation
    message = queue.waiting_for or "its base has not given it a turn yet"
    fact = no("ReadaptationQueued", f"{message}; {queue.queued} wait" if queue.queued else message)
    return TrainingDecision(trained=fact, waiting=fact)


CHECKS: Final[tuple[Check, ...]] = (
    base_is_missing,
    pinned_version_fits_other_mode,
    pinned_version_has_no_base,
    version_is_pinned,  # a pin wins over everything that concerns training
    suspended_before_resolved,
    dataset_is_missing,  # before the recipe, which needs the dataset's digest
    reference_is_unknown,  # before the recipe, too, which holds the reference's digest
    reference_is_unusable,
    source_is_unresolved,
    bound_base_is_missing,
    base_is_unresolved,
    rank_exceeds_base,
    base_cannot_be_merged_into,
    engine_is_too_short,
    version_is_published,  # before suspend: what is published may be served
    adapter_is_suspended,
    job_is_outdated,  # before the failures, which other pod settings may mend
    preparation_is_given_up,  # before them, too: they are not the training's
    training_has_failed,
    deadline_is_exceeded,
    training_is_running,
    registry_is_silent,  # before everything that begins, or begins again
    version_has_vanished,
    gpu_is_too_small,  # after the Job: one that runs anyway is not argued with
    readaptation_is_queued,  # last: only a Job that is about to be created needs a place
)


def finished_jobs(seen: AdapterSnapshot, now: datetime) -> tuple[tuple[DeleteObject, ...], float | None]:
    """Return the deletions of Jobs whose version is published, and the seconds until more of them are due.

    They are kept for their logs, for as long as the user wants; one that holds its GPU for nothing goes at once.
    """
    kept = timedelta(seconds=seen.adapter.spec.pod.ttl_seconds_after_finished)
    ended = [job for job in seen.jobs if job.recipe == seen.recipe and job.state != "Active" and job.ended_time]
    left = {job: (job.ended_time + kept - now).total_seconds() for job in ended if job.ended_time}
    lingering = lingering_jobs(seen)
    over = (DeleteObject("Job", job.name, job.uid) for job, seconds in left.items() if seconds <= 0)
    deletions = (*lingering, *(deletion for deletion in over if deletion not in lingering))
    return deletions, min((seconds for seconds in left.values() if seconds > 0), default=None)


def stopped_jobs(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletion of the Job that runs; it goes on from its last checkpoint if it is asked for again."""
    return tuple(
        DeleteObject("Job", job.name, job.uid)
        for job in seen.jobs
        if job.state == "Active" and seen.recipe in (None, job.recipe)
    )


def superseded_jobs(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletions of Jobs whose work nobody asks for any more; trainings resume if it is asked for again.

    None while the registry is silent: which recipe is asked for may depend on what it says.
    """
    if seen.recipe is None or seen.unknown is not None:
        return ()
    of_others = (DeleteObject("Job", job.name, job.uid) for job in seen.jobs if job.recipe != seen.recipe)
    return (*of_others, *unwanted_preparations(seen))
