"""A training Job, or one that imports, that is on its way: how far it is, or what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.api.conditions import no
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.queueing import QUEUED, why_held
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.memory import batch_of, current_job, with_batch
from graft_operator.plan.training.pod_hints import HINTS_BY_REASON, TRAINING, hint, identity_of, settings_of
from graft_operator.plan.training.retry_policy import lingering_jobs

IMPORTED: Final = "Imported"
"""Reason of the Jobs that import what was trained elsewhere."""

PREPARES_ONLY: Final = "this Job prepares the rows, and the training asks for what spec.pod says after it"

FIRST_POD: Final = timedelta(seconds=30)
"""How long the Job controller may take to make a pod before anybody is told that there is none."""


def training_is_running(seen: AdapterSnapshot, now: datetime) -> TrainingDecision | None:
    """The Job of the recipe runs, or waits for its turn or its pod."""
    job = current_job(seen)
    if job is None or job.state != "Active":
        return None
    progress = progress_of(seen, job)
    reason, detail = state_of(seen, job, progress, now)
    fact = no(reason, f"Job {job.name}: {detail}")
    return TrainingDecision(
        trained=fact,
        waiting=fact,
        progress=progress,
        actions=lingering_jobs(seen),
        requeue_after=next_look(progress),
    )


def state_of(seen: AdapterSnapshot, job: JobObserved, progress: TrainingProgress, now: datetime) -> tuple[str, str]:
    """Return (reason, message) of an active Job."""
    if (problem := problem_of_job(job, now, settings_of(job))) is not None:
        reason, message = problem
        # Who asked for a GPU looks for one.
        is_mistaken = job.prepares and reason == "Unschedulable"
        return reason, f"{message}; {PREPARES_ONLY}" if is_mistaken else message
    if job.pods_ended and job.outcome_reason:
        is_anew = job.prepares or job.reason == IMPORTED
        goes_on = "tries again" if is_anew else "goes on from the last checkpoint"
        return job.outcome_reason, f"{job.outcome_message}; the next pod {goes_on}"
    if job.prepares:
        return "Preparing", f"prepares the rows, {progress.prepared}" if progress.prepared else "prepares the rows"
    if job.reason == IMPORTED:
        return "Importing", progress.state
    lowered = ""
    if batch_of(seen, job) < seen.adapter.spec.training.batch_size:
        lowered = f" (batchSize {progress.batch_size} × {progress.gradient_accumulation} after running out of memory)"
    if progress.prepared:
        return "Training", f"{progress.state}, {progress.prepared}{lowered}"
    steps = f", step {progress.step} of {progress.max_steps}" if progress.max_steps else ""
    return "Training", f"{progress.state}{steps}{lowered}"


def progress_of(seen: AdapterSnapshot, job: JobObserved) -> TrainingProgress:
    """Return the progress for status: what the trainer last said, if it was about this recipe."""
    begun = TrainingProgress(job=job.name, recipe=job.recipe, reason=job.reason, warm_start=seen.warm_start)
    said = seen.progress if seen.progress is not None and seen.progress.recipe == job.recipe else None
    loads = said is not None and said.state == "Loading"
    rows = {"rows": said.rows, "total_rows": said.total_rows} if said is not None and loads else {}
    if job.prepares:  # what else was said is of a training whose Job is gone
        return begun if job.awaits_pod else begun.model_copy(update={"state": "Preparing", **rows})
    training = with_batch(seen.adapter.spec.training, batch_of(seen, job))
    shape = {
        "batch_size": training.batch_size,
        "gradient_accumulation": training.gradient_accumulation,
        "workers": seen.adapter.spec.pod.worker_count,
    }
    if said is None:
        return begun.model_copy(update=shape)
    reached = {
        "state": said.state,
        "step": said.step,
        "max_steps": said.max_steps or 0,
        "loss": None if said.loss is None else f"{said.loss:.4f}",
        "eta_seconds": None if said.eta_seconds is None else round(said.eta_seconds),
    }
    if job.awaits_pod:  # what was said is of the Job that prepared the rows, or of a pod that is gone
        return begun.model_copy(update=shape | reached | {"state": begun.state, "eta_seconds": None})
    return begun.model_copy(update=shape | rows | reached)


def next_look(progress: TrainingProgress) -> float:
    """Return seconds until the trainer's progress is read again: often when it is about to publish."""
    if progress.state in ("Evaluating", "Publishing", "Published"):
        return 1.0
    return seconds_between_looks(progress.eta_seconds)


def seconds_between_looks(eta_seconds: float | None) -> float:
    """Return after how many seconds a run is looked at again: a quarter of what it has before it, from 1 to 15."""
    return 3.0 if eta_seconds is None else min(15.0, max(1.0, eta_seconds / 4))


REASONS_OF_PODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "FailedCreate": "PodsRefused",
        **dict.fromkeys(
            (
                "ImagePullBackOff",
                "ErrImagePull",
                "ErrImageNeverPull",
                "InvalidImageName",
                "ImageInspectError",
                "SignatureValidationFailed",
            ),
            "ImagePullFailed",
        ),
        **dict.fromkeys(("FailedMount", "FailedAttachVolume", "FailedMapVolume"), "MountFailed"),
    }
)
"""Our reasons for those of Kubernetes, which takes turns with several while it tries again; to people they are one."""


def problem_of_job(
    job: JobObserved, now: datetime, pod: str = TRAINING, *, mounted_image: str | None = None
) -> tuple[str, str] | None:
    """Return (reason, message) of what keeps an active Job's pod from running; None where nothing does.

    It is the same for a training and for an import, whose settings are at different places of their specs.
    ``mounted_image`` is the image that the pod mounts as a volume, of the spec and not of ours.
    """
    if job.suspended:
        return QUEUED, why_held(job, now, pod)
    if job.waiting:
        return problem_of(job.waiting, pod, mounted_image=mounted_image)
    if not job.no_pods:
        return None
    if job.event:
        reason, message = problem_of(job.event, pod)
        return reason, f"no pod of it can be created: {message}"
    if job.created_time is not None and now - job.created_time < FIRST_POD:
        return None
    return "PodPending", "no pod of it has been created yet, and the platform has not said why"


def problem_of(waiting: str, pod: str = TRAINING, *, mounted_image: str | None = None) -> tuple[str, str]:
    """Return (reason, message) of a pod that waits, given ``Reason: message`` in Kubernetes' own words."""
    told, _, message = waiting.partition(": ")
    reason = REASONS_OF_PODS.get(told, told)
    if reason == "ImagePullFailed" and mounted_image is not None and mounted_image in message:
        return reason, f"{waiting}; it is spec.source.image.reference: check it, and imagePullSecrets in {pod}"
    if reason == "ImagePullFailed":
        image = "spec.serving.image or a value" if pod == "spec.serving" else "a value"
        access = f"the node's access, and imagePullSecrets in {identity_of(pod)} or the chart's tenantPods"
        return reason, f"{waiting}; the image is {image} of Graft's chart: check it, {access}"
    text = message if reason == "PodsRefused" else waiting
    help_ = hint(waiting, pod, HINTS_BY_REASON.get(reason, ()))
    return reason, f"{text}; {help_}" if help_ else text
