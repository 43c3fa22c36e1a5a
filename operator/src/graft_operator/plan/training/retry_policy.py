"""How a training fails, and what becomes of it.

| reason | seen by | what becomes of it |
|---|---|---|
| InvalidConfig, BadDataset, BaseMismatch, Diverged | exit 64 to 67 | stalls: only another spec, base or dataset helps |
| MergeMismatch | exit 71 | stalls: the same weights would be merged again |
| SourceInvalid, SourceNotFound, SourceForbidden | exit 72 | stalls: only another source, or another spec, helps |
| OutOfMemory | exit 69, or OOMKilled again and again | another Job with a smaller micro-batch; stalls at one row |
| Evicted | the kubelet, of as many pods as the Job has retries | stalls: the next pod would fill its disk again |
| DeadlineExceeded | the time for which its pods have run | stalls; a higher deadline goes on from the checkpoint |
| RegistryUnavailable, SourceUnavailable | exit 68 | its Job retries ever later, then rests ever longer |
| Crashed, TrainingFailed, any other | any other exit | the same; stalls as CrashLoop after three alike in a row |
| VersionMissing | a Job that succeeded without a version | the same |
| Preempted, WorkerLost, Queued | an active Job | waited for: see ``progress.py`` |
| WaitingForNode, Unschedulable, ImagePullFailed | its pod | the same |

What has failed is kept in ``status.failedTrainings``: anybody may delete a Job, and it must not be made anew for that.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from graft_operator.api.adapter_status import FailedTrainings
from graft_operator.api.conditions import no
from graft_operator.api.pods import Preparation
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.exit_codes import OUT_OF_MEMORY, SOURCE_REFUSED
from graft_operator.manifests.jobs.preparation_job import preparation_settings_digest
from graft_operator.manifests.jobs.training_job import pod_settings_digest
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.imports.origin import is_import
from graft_operator.plan.jobs import POD_EVICTED, JobObserved
from graft_operator.plan.pod_hints import settings_of
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.current_job import current_job, micro_batch_of
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.failure_counts import CRASH_LOOP, after_rest, counted, is_crash_loop, rest_of
from graft_operator.plan.training.micro_batch import smaller_batch
from graft_registry.digests import digest_of

DEADLINE: Final = "DeadlineExceeded"

FINAL: Final = SOURCE_REFUSED | {
    "InvalidConfig",
    "BadDataset",
    "BaseMismatch",
    "Diverged",
    "MergeMismatch",
    DEADLINE,
    POD_EVICTED,
}
"""Failures that trying again unchanged can't mend."""

OF_THE_IMAGE: Final = frozenset({"InvalidConfig", "BaseMismatch", "MergeMismatch"})
"""Those of them that another trainer's image may mend."""


def job_is_outdated(seen: AdapterSnapshot, _: datetime) -> TrainingDecision | None:
    """More memory, another node selector or a higher deadline are for the Job that got stuck without them."""
    job = current_job(seen)
    if job is None or not job.is_stuck:
        return None
    asked_again = job.state == "Failed" and may_retry_now(seen, seen.adapter.status.failed_trainings, job)
    if job.pod_settings in ("", wanted_settings(seen, job)) and not asked_again:
        return None
    own = [item for item in seen.jobs if item.recipe == seen.recipe and item.prepares == job.prepares]
    old = [item for item in own if asked_again or item.pod_settings != wanted_settings(seen, item)]
    goes_on = "" if is_import(seen) or job.prepares else ", and goes on from its last checkpoint"
    fact = no("PodSettingsChanged", f"Job {job.name} is made anew{goes_on}")
    deletions = tuple(DeleteObject("Job", item.name, item.uid) for item in old)
    # What is remembered goes once the Job has gone, or that would count as a failure of the new settings.
    failures = seen.adapter.status.failed_trainings
    return TrainingDecision(trained=fact, waiting=fact, failed=failures, actions=deletions, requeue_after=1)


def wanted_settings(seen: AdapterSnapshot, job: JobObserved) -> str:
    """Return the digest of the pod settings that such a Job would be made with now."""
    if job.prepares:
        return preparation_settings_digest(seen.adapter, seen.platform_asks)
    return pod_settings_digest(seen.adapter.spec, seen.platform_asks)


def may_retry_now(seen: AdapterSnapshot, failures: FailedTrainings | None, job: JobObserved | None = None) -> bool:
    """Whether something has changed since a failure, of the given Job or the last one, that may mend it."""
    if failures is None or failures.recipe != seen.recipe or (job is not None and failures.job != job.uid):
        return False
    is_the_images = failures.reason in OF_THE_IMAGE or is_crash_loop(failures)
    new_image = bool(failures.image and seen.trainer_image) and failures.image != seen.trainer_image
    return failures.inputs_digest != inputs_of(seen) or (is_the_images and new_image)


def inputs_of(seen: AdapterSnapshot) -> str:
    """Return a digest of what decides, besides recipe and image, whether a training that failed is tried again."""
    settings, preparation = pod_settings_digest(seen.adapter.spec, seen.platform_asks), seen.adapter.spec.preparation
    # Not there in the first releases: what they remember stays remembered where nothing is said of it.
    chosen = [] if preparation == Preparation() else [preparation.to_wire()]
    return digest_of([settings, seen.adapter.metadata.annotations.get(labels.RETRY, ""), *chosen])


def kept_failures(seen: AdapterSnapshot) -> FailedTrainings | None:
    """Return what is remembered of the failures of the current recipe, as long as nothing has changed."""
    known, skipped = seen.adapter.status.failed_trainings, seen.adapter.status.skipped_preparation
    if known is not None and skipped is not None and known.job == skipped.job:
        return None  # it was no training's
    return None if known is None or known.recipe != seen.recipe or may_retry_now(seen, known) else known


def failures_to_keep(seen: AdapterSnapshot) -> FailedTrainings | None:
    """Return what stays in the status. While the recipe can't be told nothing is forgotten: it may be the same again,
    once data that were deleted are applied, or a registry that is away is back.
    """
    if seen.recipe is None or seen.unknown is not None:
        return seen.adapter.status.failed_trainings
    return kept_failures(seen)


def training_has_failed(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """What can't be mended stalls and names the field; want of memory has its own way; the rest rests, and counts."""
    job = current_job(seen)
    if job is None:
        return failure_is_remembered(seen)
    if job.state != "Failed":
        return None
    reason, message = failure_of(job)
    if reason == OUT_OF_MEMORY:
        return memory_is_exhausted(seen, job)
    failures = failures_with(seen, job, reason, message)
    if reason in FINAL:
        return stalled(seen, failures, job)
    return retry_after_rest(seen, job, failures, now)


def failure_is_remembered(seen: AdapterSnapshot) -> TrainingDecision | None:
    """A failure that trying again can't mend stays one when its Job is gone; of crashes one more is tried."""
    known = kept_failures(seen)
    if known is None or known.reason not in FINAL | {OUT_OF_MEMORY}:
        return None
    return stalled(seen, known)


def deadline_is_exceeded(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """A training may run for so long; that it waits for a node, a quota or its turn does not count.

    It is remembered first. Then the Job goes, whose trainer stores a checkpoint as it is told to stop.
    """
    job, seconds = current_job(seen), seen.adapter.spec.training.deadline_seconds
    if job is None or job.state != "Active" or seconds_run(job, now) < seconds:
        return None
    failures = failures_with(seen, job, DEADLINE, deadline_message(job))
    decision = stalled(seen, failures)
    if not is_remembered(seen, job):
        return replace(decision, requeue_after=0)
    return replace(decision, actions=(DeleteObject("Job", job.name, job.uid),))


def seconds_run(job: JobObserved, now: datetime) -> float:
    """Return the seconds during which some pod of the Job has run its trainer."""
    total, reached = 0.0, None
    for start, end in sorted(job.ran, key=lambda interval: interval[0]):
        begin = start if reached is None else max(start, reached)
        reached = max(begin, end or now)
        total += (reached - begin).total_seconds()
    return total


def memory_is_exhausted(seen: AdapterSnapshot, job: JobObserved) -> TrainingDecision | None:
    """Stall where a forward pass can't get smaller; None where a Job with a smaller one is due.

    Of several pods some may still be on their way out: a recipe never has two trainers at once.
    """
    if job.prepares:
        message = f"spec.preparation.resources: preparing the rows takes more memory ({job.outcome_message}); give more"
        return stalled(seen, failures_with(seen, job, OUT_OF_MEMORY, message))
    if is_import(seen):
        message = f"an import holds the base once: give more memory in spec.pod.resources ({job.outcome_message})"
        return stalled(seen, failures_with(seen, job, OUT_OF_MEMORY, message))
    if smaller_batch(micro_batch_of(seen, job)) is not None:
        if not job.pods_running:
            return None
        fact = no(OUT_OF_MEMORY, f"Job {job.name} ran out of memory; the next one waits for its pods to end")
        return TrainingDecision(trained=fact, waiting=fact, requeue_after=3)
    message = (
        f"spec.training.batchSize: one row per forward pass is too much ({job.outcome_message}); use method QLoRA,"
        " lower spec.training.maxSequenceLength, or give more memory in spec.pod.resources"
    )
    return stalled(seen, failures_with(seen, job, OUT_OF_MEMORY, message))


def version_has_vanished(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """A Job succeeds only after its version is committed, and the registry was read after the Job: it is lost."""
    job = current_job(seen)
    if job is None or job.state != "Succeeded":
        return None
    message = "its Job succeeded, but its version is not in the registry"
    return retry_after_rest(seen, job, failures_with(seen, job, "VersionMissing", message), now)


def retry_after_rest(
    seen: AdapterSnapshot, job: JobObserved, failures: FailedTrainings, now: datetime
) -> TrainingDecision:
    """Let the ended Job rest, then delete it: the next pass creates it anew. Three that failed alike are enough."""
    if is_crash_loop(failures):
        return stalled(seen, failures, job)
    fact = no(failures.reason, f"{failures.message}; tried again {after_rest(job, failures)}")
    if (rest := rest_of(job, failures, now)) > 0:
        return TrainingDecision(trained=fact, waiting=fact, failed=failures, requeue_after=rest)
    deletion = DeleteObject("Job", job.name, job.uid)
    return TrainingDecision(trained=fact, waiting=fact, failed=failures, actions=(deletion,), requeue_after=1)


def stalled(seen: AdapterSnapshot, failures: FailedTrainings, job: JobObserved | None = None) -> TrainingDecision:
    """Return the verdict on what trying again won't mend, with what a person can do.

    It is the same with and without the Job, so that nothing is told anew when that goes.
    """
    retrain = f"`kubectl graft retrain {seen.adapter.metadata.name}`"
    again = f"to try again unchanged: {retrain}, or give annotation {labels.RETRY} of the LoraAdapter another value"
    if not is_crash_loop(failures):
        fact = no(failures.reason, f"{failures.message}; {again}")
    else:
        named = f" (or delete Job {job.name})" if job else ""
        fact = no(
            CRASH_LOOP,
            f"{failures.count} Jobs in a row have failed alike, the last with {failures.reason}: {failures.message};"
            f" it is tried again when the spec, the base or the trainer's image changes; {again}{named}",
        )
    # A Job that others keep up goes only once the status remembers how it failed.
    is_kept_up = job is not None and job.lingers and not is_remembered(seen, job)
    again_after = 0.0 if is_kept_up else None
    return TrainingDecision(
        trained=fact, stalled=fact, failed=failures, actions=lingering_jobs(seen), requeue_after=again_after
    )


def lingering_jobs(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletions of Jobs that others than the trainer keep up, with the GPU, though all is known of them."""
    newest = current_job(seen)
    return tuple(
        DeleteObject("Job", job.name, job.uid)
        for job in seen.jobs
        if job.lingers and (seen.published is not None or job != newest or is_remembered(seen, job))
    )


def is_remembered(seen: AdapterSnapshot, job: JobObserved) -> bool:
    """Whether the status holds already how the Job has failed."""
    known = kept_failures(seen)
    return known is not None and known.job == job.uid


def failures_with(seen: AdapterSnapshot, job: JobObserved, reason: str, message: str) -> FailedTrainings:
    """Return what is remembered of the recipe's failures once this Job is counted."""
    own = FailedTrainings(
        recipe=job.recipe,
        reason=reason,
        message=message,
        job=job.uid,
        inputs_digest=inputs_of(seen),
        image=job.image,
    )
    return counted(kept_failures(seen), own)


def failure_of(job: JobObserved) -> tuple[str, str]:
    """Return (reason, message) of a failed Job; the trainer's own words win over the Job's, but for the deadline."""
    if job.failure_reason == DEADLINE:
        return DEADLINE, deadline_message(job)
    reason = job.outcome_reason or "TrainingFailed"
    if reason == POD_EVICTED:
        return POD_EVICTED, eviction_message(job)
    return reason, job.outcome_message or f"Job {job.name} failed ({job.failure_reason}); see its pod's log"


def eviction_message(job: JobObserved) -> str:
    """Return what the kubelet ends pod after pod for, in its own words, and where more is given."""
    said = job.outcome_message or "the kubelet has not said why"
    return f"{settings_of(job)}.resources.limits: pod after pod is evicted: {said}"


def deadline_message(job: JobObserved) -> str:
    """Return what a deadline that is over means."""
    goes_on = "the import begins again" if job.reason == "Imported" else "the training goes on from its last checkpoint"
    if job.prepares:
        goes_on = "the rows are prepared again"
    return f"spec.training.deadlineSeconds: Job {job.name} ran for longer; raise it, and {goes_on}"
