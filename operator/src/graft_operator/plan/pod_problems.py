"""Why a pod, or a Job's pod, does not run: in Kubernetes' own words, with our reason and what may help."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.pod_hints import HINTS_BY_REASON, TRAINING, hint, identity_of
from graft_operator.plan.queueing import QUEUED, why_held

FIRST_POD: Final = timedelta(seconds=30)
"""How long the Job controller may take to make a pod before anybody is told that there is none."""

IMAGE_REASONS: Final = (
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "SignatureValidationFailed",
)
"""The kubelet's reasons for a container whose image it can't have."""

REASONS_OF_PODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "FailedCreate": "PodsRefused",
        **dict.fromkeys(IMAGE_REASONS, "ImagePullFailed"),
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
        return problem_of_pod(job.waiting, pod, mounted_image=mounted_image)
    if not job.no_pods:
        return None
    if job.event:
        reason, message = problem_of_pod(job.event, pod)
        return reason, f"no pod of it can be created: {message}"
    if job.created_time is not None and now - job.created_time < FIRST_POD:
        return None
    return "PodPending", "no pod of it has been created yet, and the platform has not said why"


def problem_of_pod(waiting: str, pod: str = TRAINING, *, mounted_image: str | None = None) -> tuple[str, str]:
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
