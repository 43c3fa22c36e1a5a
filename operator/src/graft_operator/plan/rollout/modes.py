"""From one ``serving.mode`` to another without a gap: what answers goes on until its successor does, and then some.

1. While the spec's mode has no version to serve, because one is being trained or fails its gate, nothing changes.
2. Then that mode is the one in force (``status.serving.mode``), and what answered before is ``status.serving.former``.
3. Once the target answers everywhere, clients have the rollback window to move to where it does.
4. Then what was before ends.

Each step is in the status before anything is done about it, so an operator that dies in between goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import AdapterServingStatus, FormerServing, ServedMode, ServedVersion
from graft_operator.plan.placement.demand import is_absent
from graft_operator.plan.rollout import canary
from graft_operator.plan.rollout.coverage import coverage_in_mode
from graft_operator.plan.rollout.merged import plan_merged_rollout
from graft_operator.plan.rollout.plan import Rollout, RolloutState, plan_rollout
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import served_before

OVERLAP_SECONDS: Final = 30
"""Shortest time for which both modes answer: pods that were told to go a moment ago still look as if they answered."""


def decide_serving(seen: AdapterSnapshot, wanted: ServedVersion | None, now: datetime) -> Rollout:
    """Decide what is served, and in which mode. With mode None that is nothing, at once: it is what was asked for."""
    mode, serving = seen.adapter.spec.serving.mode, seen.adapter.status.serving
    if mode == "None":
        return Rollout()
    if serving.mode_in_force != mode and (wanted is not None or serving.target is None):
        serving = switch_mode(seen, serving, mode)
    wanted = wanted if serving.mode_in_force == mode else None
    if serving.mode_in_force == "Merged":
        rollout = plan_merged_rollout(seen, serving, wanted)
    else:
        rollout = plan_rollout(rollout_state(seen, serving, wanted, now))
    rollout = replace(rollout, mode=serving.mode_in_force if rollout.target else None, former=serving.former)
    return expire_former_mode(seen, rollout, now)


def rollout_state(
    seen: AdapterSnapshot, serving: AdapterServingStatus, wanted: ServedVersion | None, now: datetime
) -> RolloutState:
    """Return what a rollout on the base's engine depends on."""
    spec, target = seen.adapter.spec, serving.target
    subject, gives_way = wanted or target, spec.serving.residency == "OnDemand"
    return RolloutState(
        wanted=wanted,
        target=target,
        previous=serving.previous,
        progress=serving.rollout,
        spec=spec.serving.rollout,
        # A pin that can't be carried out says nothing of the version that is on its way.
        pinned=subject is not None and spec.version == subject.number,
        base=seen.base,
        replicas=seen.replicas_serving_as("MultiAdapter"),
        pods=seen.pods,
        absent=is_absent(seen, target),
        fallback=served_before(seen.adapter.status.versions, target) if target and gives_way else None,
        now=now,
    )


def switch_mode(seen: AdapterSnapshot, serving: AdapterServingStatus, mode: ServedMode) -> AdapterServingStatus:
    """Return what is served as it begins in another mode, beside what it takes over from.

    A mode that has not yet ended goes on from the version that it answers with. Where it does so everywhere, what never
    came to answer in the other mode is given up; so is a first version that no pod answers with yet.
    """
    begins_with, before = serving.version_served_as(mode), serving.mode_in_force
    begun = coverage_in_mode(seen, begins_with, mode).complete
    target = coverage_in_mode(seen, serving.target, before)
    has_taken_over = target.complete and (serving.rollout is None or serving.rollout.weight == canary.ALL)
    version = serving.target if has_taken_over or serving.previous is None else serving.previous
    came_to_answer = has_taken_over or serving.previous is not None
    is_new = serving.rollout is not None and target.loaded == 0
    kept = came_to_answer or not (begun or is_new)
    former = FormerServing(mode=before, version=version) if version is not None and kept else None
    return AdapterServingStatus(mode=mode, target=begins_with, former=former)


def expire_former_mode(seen: AdapterSnapshot, rollout: Rollout, now: datetime) -> Rollout:
    """Let what was served before end once its time is up; that begins anew whenever its successor does not answer.

    One that is loaded on demand has taken over also while it is not loaded: it is what answers, once it is asked.
    """
    former = rollout.former
    if former is None:
        return rollout
    if rollout.answering_in_mode is None and not rollout.absent:
        former = former.model_copy(update={"succeeded_time": None})
    elif former.succeeded_time is None:
        former = former.model_copy(update={"succeeded_time": now})
    elif (former_seconds_left(seen, former, now) or 0) <= 0:
        return replace(rollout, former=None)
    return replace(rollout, former=former, former_coverage=coverage_in_mode(seen, former.version, former.mode))


def former_seconds_left(seen: AdapterSnapshot, former: FormerServing | None, now: datetime) -> float | None:
    """Return seconds until what was served before ends; None where there is nothing, or nothing that will end yet."""
    if former is None or former.succeeded_time is None:
        return None
    window = timedelta(seconds=max(OVERLAP_SECONDS, seen.adapter.spec.serving.rollout.rollback_window_seconds))
    return (former.succeeded_time + window - now).total_seconds()
