"""When an adapter is looked at again although nobody has news of it.

Pods and agents tell of each step, so a look by the clock is for what nobody tells: the end of a canary's step or of a
rollback window, what is measured meanwhile, and news that were lost. An adapter that waits for something that may never
come, a place, a node, an engine that restarts, is looked at as rarely as one that is done.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from graft_operator.api.adapter_status import RolloutProgress, ServedVersion
from graft_operator.api.rollout import RolloutSpec
from graft_operator.plan.rollout import canary
from graft_operator.plan.rollout.coverage import carries_out, seconds_until_reached
from graft_operator.plan.rollout.plan import Rollout
from graft_operator.plan.snapshot import AdapterSnapshot, PodObserved

MOVING_SECONDS: Final = 2.0
"""While a pod is seen to be on its way."""

WATCHING_SECONDS: Final = 30.0
"""While something that should answer does not."""

CANARY_SECONDS: Final = 2.0
"""While a version is held to its limits: what is measured is no news."""

ON_THE_WAY: Final = frozenset({"Pending", "Fetching", "Loading", "Proving"})
"""States of a version that another one follows soon (docs/contracts.md §7)."""


def rollout_requeue(rollout: Rollout, seen: AdapterSnapshot, now: datetime) -> float | None:
    """Return seconds until the pods are looked at again; None where nothing is awaited."""
    if rollout.target is None or rollout.mode is None or (rollout.done and rollout.progress is None):
        return None
    # Nobody tells that a pod is reached by now, in whatever mode it serves, and a rollback window may last a week.
    until_reached = (seconds_until_reached(pod, now) or None for pod in (*seen.pods, *seen.merged_pods))
    return soonest(*until_reached, awaited_seconds(rollout, rollout.target, seen, now))


def awaited_seconds(rollout: Rollout, target: ServedVersion, seen: AdapterSnapshot, now: datetime) -> float | None:
    """Return seconds until what is under way has to be looked at, pods that are about to be reached aside."""
    progress = rollout.progress
    if rollout.absent:
        return MOVING_SECONDS if rollout.coverage.loaded else None  # until the pods have let it go
    if rollout.mode == "Merged" and seen.adapter.status.serving.version_served_as("Merged") is None:
        return 0.0  # its Deployment is made once this is in the status
    if progress is not None and progress.step_time is not None:
        return watch_seconds(seen.adapter.spec.serving.rollout, progress, now)
    is_moving = rollout.mode == "MultiAdapter" and any(moves(pod, rollout, target) for pod in seen.pods)
    return MOVING_SECONDS if is_moving else WATCHING_SECONDS


def moves(pod: PodObserved, rollout: Rollout, target: ServedVersion) -> bool:
    """Whether the pod is about to answer with the target, or answers and is about to do so by the present decision."""
    if pod.base_digest != target.base_digest or not pod.reachable or pod.problem:
        return False
    if any(item.number == target.number and item.state in ON_THE_WAY for item in pod.versions):
        return True
    begins = rollout.previous is not None and target.number in pod.active
    return begins and not carries_out(pod, target, rollout.previous or target, rollout.weight)


def watch_seconds(spec: RolloutSpec, progress: RolloutProgress, now: datetime) -> float:
    """Return seconds until the pods are asked during a step or a rollback window: at its end, or before by limits."""
    left = canary.step_seconds_left(spec, progress, now) or CANARY_SECONDS
    is_watched = progress.weight < canary.ALL or spec.effective_limits is not None
    return min(left, CANARY_SECONDS) if is_watched else left


def soonest(*delays: float | None) -> float | None:
    """Return the shortest of the delays that are given."""
    return min((delay for delay in delays if delay is not None), default=None)
