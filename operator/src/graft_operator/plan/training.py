"""Which version should exist, and what to do so that it does: an ordered chain of small checks.

The first check that has something to say decides. The order matters and is explained at :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress, VersionReason
from graft_operator.api.conditions import Fact, no, unknown, yes
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.observed import AdapterObserved, JobObserved
from graft_operator.plan.verdicts import Verdict

USER_ERRORS: Final = frozenset({"InvalidConfig", "BadDataset", "BaseMismatch", "Diverged"})
"""Failures that trying again can't mend (exit codes 64 to 67)."""

RETRY_SECONDS: Final = 300.0
"""How long a Job that has used up its own retries rests before it is created anew."""

SLOT_SECONDS: Final = 5.0
"""How often a waiting adapter looks whether a place to re-adapt is free."""

Check = Callable[[AdapterObserved, datetime], Verdict | None]


def decide_training(seen: AdapterObserved, now: datetime) -> Verdict | None:
    """Return the verdict of the first check that has one; None means that a training Job is due."""
    return next((verdict for check in CHECKS if (verdict := check(seen, now)) is not None), None)


def base_is_missing(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """Without a base there is nothing to train on; GitOps tools may apply it later than the adapter."""
    if seen.base is not None:
        return None
    fact = no("BaseModelNotFound", seen.base_problem)
    return Verdict(accepted=fact, trained=unknown("BaseModelNotFound"), waiting=fact, requeue_after=60)


def version_is_pinned(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """``spec.version`` is a person's word: nothing is trained while it is set."""
    number = seen.adapter.spec.version
    if number is None:
        return None
    if seen.pinned is None:
        fact = no("VersionNotFound", f"spec.version: version {number} is not in the registry; name one that is")
        return Verdict(accepted=fact, trained=unknown("VersionNotFound"), stalled=fact)
    fact = yes("Pinned", f"spec.version pins version {number}")
    return Verdict(trained=fact, current=seen.pinned, actions=stopped_jobs(seen))


def base_is_unresolved(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """The base's identity goes into the recipe, so it must be known first."""
    if seen.recipe is not None or seen.dataset_problem:
        return None
    name = seen.adapter.spec.base_model_ref.name
    fact = unknown("BaseModelNotResolved", f"waiting for BaseModel {name} to be resolved")
    return Verdict(trained=fact, waiting=fact, requeue_after=60)


def rank_exceeds_base(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """Refused before a GPU is taken: the engine would refuse it after."""
    spec, base = seen.adapter.spec, seen.base
    if base is None or spec.serving.mode == "None" or spec.lora.rank <= base.spec.serving.max_rank:
        return None
    fact = no(
        "RankTooHigh",
        f"spec.lora.rank: {spec.lora.rank} is above serving.maxRank {base.spec.serving.max_rank} of BaseModel"
        f" {base.metadata.name}; lower the rank, raise maxRank, or set serving.mode None",
    )
    return Verdict(accepted=fact, trained=unknown("RankTooHigh"), stalled=fact)


def dataset_is_missing(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """A ConfigMap may be applied later than the adapter, so this waits rather than stalls."""
    if not seen.dataset_problem:
        return None
    fact = no("DatasetNotFound", seen.dataset_problem)
    return Verdict(accepted=fact, trained=unknown("DatasetNotFound"), waiting=fact, requeue_after=30)


def version_is_published(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """The recipe is in the registry: trained now, or long ago, or by a cluster that is gone."""
    if seen.published is None:
        return None
    number = seen.published.manifest.number
    return Verdict(trained=yes("Trained", f"version {number} holds this recipe"), current=seen.published)


def base_moved_on_without_us(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """With policy Never the adapter stays on the base that it was trained on, and says that it is behind."""
    if seen.base is None or seen.base.spec.readaptation.policy != "Never" or seen.live is None:
        return None
    if new_version_reason(seen) != "BaseModelChanged":
        return None
    message = f"BaseModel {seen.base.metadata.name} has changed and readaptation.policy is Never"
    return Verdict(trained=yes("KeptOnOldBase", message), current=seen.live, actions=stopped_jobs(seen))


def adapter_is_suspended(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """Suspension stops new work; a Job that runs is stopped at its next checkpoint and goes on later."""
    if not seen.adapter.spec.suspend:
        return None
    fact = no("Suspended", "spec.suspend is true: nothing is trained")
    return Verdict(trained=fact, actions=stopped_jobs(seen))


def training_has_failed(seen: AdapterObserved, now: datetime) -> Verdict | None:
    """User errors stall at once and name the field; everything else rests and is tried again."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Failed":
        return None
    reason, message = failure_of(job)
    if reason in USER_ERRORS or reason == "DeadlineExceeded":
        fact = no(reason, f"{message}; to try again unchanged, delete Job {job.name}")
        return Verdict(trained=fact, stalled=fact)
    return begin_again(job, no(reason, f"{message}; tried again {after_rest(job)}"), now)


def version_has_vanished(seen: AdapterObserved, now: datetime) -> Verdict | None:
    """A Job succeeds only after its version is committed, and the registry was read after the Job: it is lost."""
    job = job_of_recipe(seen)
    if job is None or job.state != "Succeeded":
        return None
    message = f"Job {job.name} succeeded, but its version is not in the registry; trained again {after_rest(job)}"
    return begin_again(job, no("VersionMissing", message), now)


def begin_again(job: JobObserved, fact: Fact, now: datetime) -> Verdict:
    """Let the ended Job rest, then delete it: the next pass creates it anew."""
    rest = RETRY_SECONDS - (now - job.ended_time).total_seconds() if job.ended_time else 0.0
    if rest > 0:
        return Verdict(trained=fact, waiting=fact, requeue_after=rest)
    return Verdict(trained=fact, waiting=fact, actions=(DeleteObject("Job", job.name, job.uid),), requeue_after=1)


def after_rest(job: JobObserved) -> str:
    """Return when a Job has rested. A point in time: "in 4 minutes" would be a new status with every look."""
    return f"after {job.ended_time + timedelta(seconds=RETRY_SECONDS):%H:%M:%S} UTC" if job.ended_time else "now"


def training_is_running(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """The Job of the recipe runs, or waits for its pod."""
    job = job_of_recipe(seen)
    if job is None:
        return None
    progress = progress_of(seen, job)
    detail = job.waiting or f"{progress.state}, step {progress.step} of {progress.max_steps}"
    reason = job.waiting.partition(":")[0] if job.waiting else "Training"
    fact = no(reason, f"Job {job.name}: {detail}")
    return Verdict(trained=fact, waiting=fact, progress=progress, requeue_after=next_look(progress))


def place_is_taken(seen: AdapterObserved, _: datetime) -> Verdict | None:
    """A base bump must not start as many Jobs as there are adapters."""
    if seen.base is None or new_version_reason(seen) != "BaseModelChanged":
        return None
    limit = seen.base.spec.readaptation.max_parallel
    if seen.readaptations < limit:
        return None
    fact = no("ReadaptationQueued", f"{limit} adapters of this base are being re-adapted (readaptation.maxParallel)")
    return Verdict(trained=fact, waiting=fact, requeue_after=SLOT_SECONDS)


CHECKS: Final[tuple[Check, ...]] = (
    base_is_missing,
    version_is_pinned,  # a pin wins over everything that concerns training
    dataset_is_missing,  # before the recipe, which needs the dataset's digest
    base_is_unresolved,
    rank_exceeds_base,
    version_is_published,  # before suspend: what is published may be served
    base_moved_on_without_us,
    adapter_is_suspended,
    training_has_failed,
    version_has_vanished,
    training_is_running,
    place_is_taken,  # last: only a Job that is about to be created needs a place
)


def job_of_recipe(seen: AdapterObserved) -> JobObserved | None:
    """Return the Job that trains the current recipe, if there is one."""
    return next((job for job in seen.jobs if job.recipe == seen.recipe), None)


def stopped_jobs(seen: AdapterObserved) -> tuple[DeleteObject, ...]:
    """Return the deletion of the Job that runs; it goes on from its last checkpoint if it is asked for again."""
    return tuple(
        DeleteObject("Job", job.name, job.uid)
        for job in seen.jobs
        if job.state == "Active" and seen.recipe in (None, job.recipe)
    )


def superseded_jobs(seen: AdapterObserved) -> tuple[DeleteObject, ...]:
    """Return the deletions of Jobs whose recipe nobody asks for any more; they resume if it is asked for again."""
    if seen.recipe is None:
        return ()
    return tuple(DeleteObject("Job", job.name, job.uid) for job in seen.jobs if job.recipe != seen.recipe)


def new_version_reason(seen: AdapterObserved) -> VersionReason:
    """Return why the version that is about to be trained is made."""
    if seen.live is None or seen.base is None or seen.base.status.resolved is None:
        return "SpecChanged"
    on_current_base = seen.live.manifest.base.digest == seen.base.status.resolved.digest
    return "SpecChanged" if on_current_base else "BaseModelChanged"


def failure_of(job: JobObserved) -> tuple[str, str]:
    """Return (reason, message) of a failed Job; the trainer's own words win over the Job's."""
    if job.failure_reason == "DeadlineExceeded":
        return "DeadlineExceeded", f"Job {job.name} took longer than spec.training.deadlineSeconds; raise it"
    reason = job.outcome_reason or "TrainingFailed"
    return reason, job.outcome_message or f"Job {job.name} failed ({job.failure_reason}); see its pod's log"


def progress_of(seen: AdapterObserved, job: JobObserved) -> TrainingProgress:
    """Return the progress for status: what the trainer last said, if it was about this recipe."""
    said = seen.progress
    if said is None or said.recipe != job.recipe:
        return TrainingProgress(job=job.name, recipe=job.recipe)
    return TrainingProgress(
        job=job.name,
        recipe=job.recipe,
        state=said.state,
        step=said.step,
        max_steps=said.max_steps or 0,
        loss=None if said.loss is None else f"{said.loss:.4f}",
        eta_seconds=None if said.eta_seconds is None else round(said.eta_seconds),
    )


def next_look(progress: TrainingProgress) -> float:
    """Return seconds until the trainer's progress is read again: often when it is about to publish."""
    if progress.state in ("Evaluating", "Publishing", "Published"):
        return 1.0
    if progress.eta_seconds is None:
        return 3.0
    return min(15.0, max(1.0, progress.eta_seconds / 4))
