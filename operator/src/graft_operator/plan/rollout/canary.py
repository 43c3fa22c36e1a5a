"""The steps of a canary, and the limits that a new version must keep to.

Like Flagger and Argo Rollouts, a step lasts its time and is only passed by a version that keeps to its limits. Unlike
them, a version that too few people ask for is waited for no longer than ``limits.waitSeconds``: it has passed the gate,
and what nobody asks hurts nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import RolloutProgress, ServedVersion
from graft_operator.api.rollout import RolloutLimits, RolloutSpec, RolloutStep
from graft_operator.plan.rollout.measured import Measured

ALL: Final = 100
"""Percent of the requests when a version has taken over."""


def first_weight(spec: RolloutSpec, version: ServedVersion, before: ServedVersion | None) -> int:
    """Return the percentage of requests with which ``version`` begins to take over from ``before``.

    A base of its own has pods of its own, between which no weight decides. A lower number is a way back that somebody
    chose, and that has to be quick.
    """
    steps = spec.effective_steps
    if not steps or before is None or spec.promote == version.number:
        return ALL
    comparable = before.base_digest == version.base_digest and before.number < version.number
    return steps[0].weight if comparable else ALL


def next_weight(spec: RolloutSpec, weight: int) -> int:
    """Return the weight of the step after the one of ``weight``."""
    return next((step.weight for step in spec.effective_steps if step.weight > weight), ALL)


def step_of(spec: RolloutSpec, weight: int) -> RolloutStep | None:
    """Return the step of that weight; None where the spec has none (any more)."""
    return next((step for step in spec.effective_steps if step.weight == weight), None)


def step_is_over(
    spec: RolloutSpec, progress: RolloutProgress, candidate: Measured, now: datetime, *, asking: bool = False
) -> bool:
    """Whether the next step may begin: its time is up, and enough has been seen, or waited for.

    Enough are ``limits.minRequests`` requests, and the answers to all probes; ``asking`` says that some are missing.
    """
    step, begun = step_of(spec, progress.weight), progress.step_time
    if step is None:
        return True
    if begun is None or now < begun + timedelta(seconds=step.seconds):
        return False
    limits = spec.effective_limits
    if limits is None or (candidate.requests >= limits.min_requests and not asking):
        return True
    return now >= begun + timedelta(seconds=step.seconds + limits.wait_seconds)


def step_seconds_left(spec: RolloutSpec, progress: RolloutProgress, now: datetime) -> float:
    """Return seconds until the end of the step, or of the rollback window, that has begun; 0 when that is past."""
    step = step_of(spec, progress.weight)
    lasts = spec.rollback_window_seconds if progress.weight == ALL else step.seconds if step else 0
    elapsed = now - progress.step_time if progress.step_time else timedelta()
    return max(0.0, lasts - elapsed.total_seconds())


def breach(limits: RolloutLimits, candidate: Measured, stable: Measured, names: tuple[int, int]) -> str:
    """Return which limit the candidate breaks, in words; empty when it keeps to all.

    ``names`` are the numbers of candidate and stable version. Errors count against ``minRequests`` while there are
    fewer requests: what can't come below the limit any more need not be waited for.
    """
    new, old = names
    failing, failed_before = candidate.error_percent(limits.min_requests), stable.error_percent()
    if failing - failed_before > limits.max_error_percent:
        return (
            f"{candidate.errors} of {candidate.requests} requests to version {new} failed, {failed_before:.0f} % of"
            f" those to version {old}: above limits.maxErrorPercent {limits.max_error_percent}"
        )
    if min(candidate.answers, stable.answers) < limits.min_requests:
        return ""
    slow, slow_before = candidate.slow_seconds(), stable.slow_seconds()
    percent = 100 * slow / slow_before
    if percent > limits.max_latency_percent:
        return (
            f"95 % of the answers of version {new} came within {slow:.3f} s, of version {old} within"
            f" {slow_before:.3f} s: {percent:.0f} %, above limits.maxLatencyPercent {limits.max_latency_percent}"
        )
    return ""
