"""Jobs of ours as plans see them, and those that are in the way of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
"""What may be the reason of a condition, whoever has said it."""

POD_EVICTED: Final = "Evicted"
"""Reason of a pod's status, and ours of a Job whose pods the kubelet has evicted for what they did themselves."""

JobState = Literal["Active", "Succeeded", "Failed"]

Interval = tuple[datetime, datetime | None]
"""Begin and end; None for one that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """What Kueue makes of a Job that is in one of its queues."""

    queue: str
    """LocalQueue, as the Job's label says: Kueue itself gives one to Jobs without, where a namespace has a default."""
    kueue: Literal["Served", "Missing", "Forbidden", "TooLarge", "Unknown"] = "Unknown"
    """Whether the cluster has Kueue, and the operator can read what it says; Unknown while that can't be told."""
    workload: str = ""
    """Name of the Workload that Kueue has made of the Job; empty while there is none."""
    says: str = ""
    """Why the Job is held, in Kueue's own words."""
    is_admitted: bool = False
    """Whether Kueue has admitted it, and is yet to let it run."""
    is_kept: bool = False
    """Whether the Workload is being deleted, and Kueue has not let go of it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobObserved:
    """A Job of ours and what its newest pod says."""

    name: str
    uid: str
    recipe: str
    """Digest of what the Job does: the training recipe, or the source of a base."""
    state: JobState
    """By its own container, which may have ended before containers that others have put into its pods (``lingers``)."""
    created_time: datetime | None = None
    ended_time: datetime | None = None
    """When it failed or succeeded."""
    reason: str = ""
    """Why a version is trained, as the Job's label tells."""
    failure_reason: str = ""
    """Reason of the Job's Failed condition, such as BackoffLimitExceeded or DeadlineExceeded."""
    outcome_reason: str = ""
    """Reason in the termination message of the newest pod, such as BadDataset."""
    outcome_message: str = ""
    """What that pod said, or its last lines."""
    outcome_digest: str = ""
    """Digest of the content that a look at a source has found."""
    outcome_revision: str = ""
    """What the source calls that content."""
    no_pods: bool = False
    """Whether the Job is active and has no pod: nothing has made one yet, or a quota or a policy refuses it."""
    event: str = ""
    """The platform's newest complaint about the Job itself, as ``Reason: message``."""
    waiting: str = ""
    """Why the pod does not run yet, such as ``Unschedulable: 0/3 nodes are available``."""
    idle_since: datetime | None = None
    """When the last thing happened to it that a pod needs: it was made, it was held, or its newest pod was made."""
    suspended: bool = False
    """Whether the Job is held, as Kueue does until there is quota for it."""
    queueing: Queueing | None = None
    """What Kueue makes of it; None for a Job that is in no queue."""
    pods_running: bool = False
    """Whether a pod of it is still there that has not ended."""
    pods_ended: bool = False
    """Whether every pod that it had has ended: the Job controller is about to make another."""
    lingers: bool = False
    """Whether its outcome is known although it still runs: a container of others, such as a mesh's sidecar, keeps its
    pod up, or its controller makes pod after pod that the kubelet evicts."""
    ran: tuple[Interval, ...] = ()
    """When its own container has run, pod by pod, without the time for which pods waited."""
    image: str = ""
    """Image of its own container."""
    prepares: bool = False
    """Whether it prepares the rows of a training, and trains nothing."""
    rows: str = ""
    """Digest of what decides which rows it prepares; empty where the Job doesn't tell."""
    micro_batch: int | None = None
    """Rows of one forward pass that a training was made with; None where the Job doesn't tell."""
    pod_settings: str = ""
    """Digest of the pod settings that it was made with; empty where the Job doesn't tell."""

    @property
    def awaits_pod(self) -> bool:
        """Whether its own container has yet to start, at first or in the pod after one that has ended."""
        if self.state != "Active":
            return False
        runs = any(end is None for _, end in self.ran)
        return bool(self.waiting or self.suspended or self.no_pods or (self.pods_running and not runs))

    @property
    def is_stuck(self) -> bool:
        """Whether the Job has failed, or its pod waits for something that may never come."""
        return self.state == "Failed" or (
            self.state == "Active" and bool(self.waiting or self.suspended or self.no_pods)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupiedName:
    """A Job that is in the way of one that we might make: its name is taken, and it is not ours to use."""

    name: str
    ending: bool = False
    """Whether it goes by itself: it is being deleted, or its owner is gone and the garbage collector will take it."""
    message: str
    """Whose it is, or what it waits for."""
