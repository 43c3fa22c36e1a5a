"""What a person can do about a pod that does not get to run."""

from __future__ import annotations

import re
from typing import Final

IMAGE_REASONS: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName"})
"""Kubernetes takes turns with these while it tries again; to people they are one state."""

HINTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"untolerated taint"),
        "a node keeps pods away by a taint: add a toleration to spec.pod.tolerations if it is meant for training",
    ),
    (
        re.compile(r"Insufficient (?P<what>[a-z0-9.-]+/[a-z0-9._-]*[a-z0-9])"),
        "no node has so much {what} free: wait for it, lower spec.pod.resources.limits, or see that the node's device"
        " plugin runs",
    ),
    (
        re.compile(r"Insufficient (?P<what>cpu|memory|ephemeral-storage)"),
        "no node has so much {what} free: lower spec.pod.resources, or add a node",
    ),
    (
        re.compile(r"didn't match Pod's node affinity/selector"),
        "no other node has the labels that spec.pod.nodeSelector asks for",
    ),
    (
        re.compile(r'persistentvolumeclaim "(?P<what>[^"]+)" not found'),
        "apply the PersistentVolumeClaim {what}",
    ),
)
"""Parts of kube-scheduler's messages, and what helps. The wording is that of its plugins' ErrReason constants."""


def hint(scheduler_says: str) -> str:
    """Return what may help, sentence by sentence; empty where nothing is known."""
    found = [(pattern.search(scheduler_says), advice) for pattern, advice in HINTS]
    return "; ".join(advice.format(**match.groupdict()) for match, advice in found if match)


def obstacle(waiting: str) -> tuple[str, str]:
    """Return (reason, message) of a pod that waits, given ``Reason: message`` in Kubernetes' own words."""
    reason = waiting.partition(":")[0]
    if reason in IMAGE_REASONS:
        return "ImagePullFailed", f"{waiting}; the image is a value of Graft's chart: check it, and the node's access"
    help_ = hint(waiting) if reason == "Unschedulable" else ""
    return reason, f"{waiting}; {help_}" if help_ else waiting
