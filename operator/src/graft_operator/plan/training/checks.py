"""Which version should exist, and what to do so that it does: an ordered chain of small checks.

The first check that has something to say decides. The order matters and is explained at :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from graft_operator.api.conditions import no, unknown, yes
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision, refused
from graft_operator.plan.training.failures import job_is_outdated, training_has_failed, version_has_vanished
from graft_operator.plan.training.job import is_readaptation
from graft_operator.plan.training.memory import gpu_is_too_small
from graft_operator.plan.training.progress import training_is_running
from graft_operator.plan.training.servability import (
    base_cannot_be_merged_into,
    engine_is_too_short,
    merged_api_would_be_open,
    pinned_version_fits_other_mode,
    pinned_version_has_no_base,
    rank_exceeds_base,
)

SLOT_SECONDS: Final = 5.0
"""How often a waiting adapter looks whether a place to re-adapt is free."""

Check = Callable[[AdapterSnapshot, datetime], TrainingDecision | None]


def decide_training(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """Return the verdict of the first check that has one; None means that a training Job is due."""
    return next((verdict for check in CHECKS if (verdict := check(seen, now)) is not None), None)


def base_is_missing(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Without a base there is nothing to train on; GitOps tools may apply it later than the adapter."""
    if seen.base is not None:
        return None
    fact = no("BaseModelNotFound", seen.base_problem)
    return TrainingDecision(accepted=fact, trained=unknown("BaseModelNotFound"), waiting=fact, requeue_after=60)


def version_is_pinned(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """``spec.version`` is a person's word: nothing is trained while it is set."""
    number = seen.adapter.spec.version
    if number is None:
        return None
    if seen.pinned is None:
        return refused("VersionNotFound", f"spec.version: version {number} is not in the registry; name one that is")
    fact = yes("Pinned", f"spec.version pins version {number}")
    return TrainingDecision(trained=fact, current=seen.pinned, actions=stopped_jobs(seen))


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


def version_is_published(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """The recipe is in the registry: trained now, or long ago, or by a cluster that is gone."""
    if seen.published is None:
        return None
    number = seen.published.manifest.number
    return TrainingDecision(trained=yes("Trained", f"version {number} holds this recipe"), current=seen.published)


def adapter_is_suspended(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """Suspension stops new work; a Job that runs is stopped at its next checkpoint and goes on later."""
    if not seen.adapter.spec.suspend:
        return None
    fact = no("Suspended", "spec.suspend is true: nothing is trained")
    return TrainingDecision(trained=fact, actions=stopped_jobs(seen))


def readaptation_is_queued(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """A base bump must not start as many Jobs as there are adapters."""
    if seen.base is None or not is_readaptation(seen):
        return None
    limit = seen.base.spec.readaptation.max_parallel
    if seen.readaptations < limit:
        return None
    fact = no("ReadaptationQueued", f"{limit} adapters of this base are being re-adapted (readaptation.maxParallel)")
    return TrainingDecision(trained=fact, waiting=fact, requeue_after=SLOT_SECONDS)


CHECKS: Final[tuple[Check, ...]] = (
    base_is_missing,
    pinned_version_fits_other_mode,
    pinned_version_has_no_base,
    version_is_pinned,  # a pin wins over everything that concerns training
    dataset_is_missing,  # before the recipe, which needs the dataset's digest
    base_is_unresolved,
    rank_exceeds_base,
    base_cannot_be_merged_into,
    engine_is_too_short,
    merged_api_would_be_open,
    version_is_published,  # before suspend: what is published may be served
    adapter_is_suspended,
    job_is_outdated,  # before the failures, which other pod settings may mend
    training_has_failed,
    version_has_vanished,
    training_is_running,
    gpu_is_too_small,  # after the Job: one that runs anyway is not argued with
    readaptation_is_queued,  # last: only a Job that is about to be created needs a place
)


def stopped_jobs(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletion of the Job that runs; it goes on from its last checkpoint if it is asked for again."""
    return tuple(
        DeleteObject("Job", job.name, job.uid)
        for job in seen.jobs
        if job.state == "Active" and seen.recipe in (None, job.recipe)
    )


def superseded_jobs(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletions of Jobs whose recipe nobody asks for any more; they resume if it is asked for again."""
    if seen.recipe is None:
        return ()
    return tuple(DeleteObject("Job", job.name, job.uid) for job in seen.jobs if job.recipe != seen.recipe)
