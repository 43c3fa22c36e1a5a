"""Where the alias should point: from one version to the next, step by step, and back when the next one fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from graft_operator.api.adapter_status import FormerServing, RolloutProgress, ServedMode, ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.api.rollout import RolloutLimits, RolloutSpec
from graft_operator.plan.rollout import canary
from graft_operator.plan.rollout.coverage import NO_COVERAGE, Coverage, carries_out, coverage_of, holds, measured_on
from graft_operator.plan.rollout.probe_scores import drop_beyond, scored_on
from graft_operator.plan.snapshot import PodObserved
from graft_registry.documents import StoredVersion

ABORTED = "spec.serving.rollout.abort names it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """All that the next step of a rollout depends on."""

    wanted: ServedVersion | None = None
    """The version that fulfils the spec and may be served."""
    target: ServedVersion | None = None
    previous: ServedVersion | None = None
    progress: RolloutProgress | None = None
    spec: RolloutSpec
    pinned: bool = False
    base: BaseModel | None
    replicas: int | None = None
    """Number of the base's pods that are to answer; None for all."""
    pods: tuple[PodObserved, ...] = ()
    absent: bool = False
    """Whether the target is loaded on demand, and is not to be loaded now."""
    fallback: ServedVersion | None = None
    """What is served if pods refuse a target that had nothing to take over from, as it came while it was not loaded."""
    now: datetime

    @property
    def weight(self) -> int:
        """Percent of the requests that the target is to answer."""
        return self.progress.weight if self.progress else canary.ALL

    @property
    def coverage(self) -> Coverage:
        """How many pods answer with the target: with nothing else, once it is to answer all requests."""
        alone = self.weight == canary.ALL
        return coverage_of(self.target, self.base, self.pods, replicas=self.replicas, alone=alone)

    @property
    def deciding(self) -> tuple[PodObserved, ...]:
        """The pods that split requests between target and previous version as decided."""
        target, previous = self.target, self.previous
        if target is None or previous is None:
            return ()
        return tuple(pod for pod in self.pods if carries_out(pod, target, previous, self.weight))

    @property
    def limits(self) -> RolloutLimits | None:
        """The limits that the target has to keep to.

        None for what a person has chosen (a pin, a promotion, a way back), and where there is nothing to compare with
        on the same pods.
        """
        target, previous = self.target, self.previous
        if target is None or previous is None or self.pinned or self.spec.promote == target.number:
            return None
        comparable = previous.number < target.number and previous.base_digest == target.base_digest
        return self.spec.effective_limits if comparable else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A version that is given up, to be remembered."""

    version: ServedVersion
    state: Literal["Refused", "RolledBack"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where the alias should point, and what the pods say."""

    mode: ServedMode | None = None
    """How target and previous version are served; None where nothing is."""
    former: FormerServing | None = None
    """What still answers as it did before serving.mode changed."""
    former_coverage: Coverage = NO_COVERAGE
    target: ServedVersion | None = None
    previous: ServedVersion | None = None
    progress: RolloutProgress | None = None
    coverage: Coverage = NO_COVERAGE
    previous_coverage: Coverage = NO_COVERAGE
    rollback: Rollback | None = None
    """What has just been given up."""
    absent: bool = False
    """Whether the target is loaded on demand, and is not to be loaded now."""

    @property
    def weight(self) -> int:
        """Percent of the requests that the target is to answer."""
        return self.progress.weight if self.progress else canary.ALL

    @property
    def done(self) -> bool:
        """Whether the target answers every request, on every wanted replica."""
        return self.weight == canary.ALL and self.coverage.complete and not self.absent

    @property
    def answering(self) -> ServedVersion | None:
        """The version that answers on every replica that it is wanted on; during a canary the one before."""
        if self.answering_in_mode is not None:
            return self.answering_in_mode
        return self.former.version if self.former and self.former_coverage.complete else None

    @property
    def answering_in_mode(self) -> ServedVersion | None:
        """The same, but for what answers only as it did before serving.mode changed."""
        if self.done:
            return self.target
        return self.previous if self.previous_coverage.complete else None

    def version_served_as(self, mode: ServedMode) -> ServedVersion | None:
        """Return the version that pods of this mode are to answer with; with two of them, the one that they move to."""
        if self.target is not None and self.mode == mode:
            return self.target
        return self.former.version if self.former is not None and self.former.mode == mode else None


def served(stored: StoredVersion) -> ServedVersion:
    """Return the short form of a stored version for status."""
    manifest = stored.manifest
    return ServedVersion(number=manifest.number, digest=stored.digest, base_digest=manifest.base.digest)


def plan_rollout(at: RolloutState) -> Rollout:
    """Move the alias towards what is wanted; keep what answers until the new one does; go back when that fails."""
    if at.absent:
        return while_absent(at)
    at = with_target_chosen(at)
    if at.target is None:
        return Rollout()
    rollback = rollback_of(at)
    before = at.previous or at.fallback
    if rollback is not None and before is not None:
        back = replace(at, target=before, previous=None, progress=None)
        return Rollout(target=back.target, coverage=back.coverage, rollback=rollback)
    at = with_next_step(at)
    return Rollout(
        target=at.target,
        previous=at.previous,
        progress=at.progress,
        coverage=at.coverage,
        previous_coverage=coverage_of(at.previous, at.base, at.pods, replicas=at.replicas),
    )


def while_absent(at: RolloutState) -> Rollout:
    """Make what is wanted the target at once: no pod holds what it would take over from, or be compared with.

    It is proven when it is loaded. Only a canary that has begun on this base is not ended unseen: it goes on from the
    start of its step once both versions are loaded again.
    """
    target, previous, progress = at.wanted or at.target, at.previous, at.progress
    if target is None:
        return Rollout()
    decided = at.pinned or at.spec.promote == target.number or target != at.target
    is_canary = progress is not None and previous is not None and progress.weight < canary.ALL
    if decided or not is_canary or previous is None or previous.base_digest != target.base_digest:
        previous = progress = None
    elif progress is not None:
        progress = progress.model_copy(update={"step_time": None})
    # On another base it may have a place: that is seen next time.
    absent = at.target is not None and at.target.base_digest == target.base_digest
    at = replace(at, target=target, previous=previous, progress=progress)
    return Rollout(target=target, previous=previous, progress=progress, coverage=at.coverage, absent=absent)


def with_target_chosen(at: RolloutState) -> RolloutState:
    """Make what is wanted the target, beside what answers now."""
    wanted, previous = at.wanted, at.previous
    if wanted is None or wanted == at.target:
        adopted = previous is not None and at.progress is None  # from a release that kept no progress
        return replace(at, progress=RolloutProgress(start_time=at.now)) if adopted else at
    was_proven = not is_first_and_unproven(at)
    if at.weight == canary.ALL and at.coverage.complete:
        previous = at.target
    elif previous is None:
        previous = at.target if was_proven or at.coverage.loaded else None
    # Numbers are given out anew after the loss of a registry; an agent can't hold two versions of one number.
    previous = None if previous is not None and previous.number == wanted.number else previous
    by_steps = was_proven and not at.pinned  # a pod may never take what it would be compared with
    weight = canary.first_weight(at.spec, wanted, previous) if by_steps else canary.ALL
    return replace(at, target=wanted, previous=previous, progress=RolloutProgress(weight=weight, start_time=at.now))


def is_first_and_unproven(at: RolloutState) -> bool:
    """Whether the target took over from nothing, and has never answered on every replica: the rollout would be over."""
    return at.progress is not None and at.previous is None and not at.coverage.complete


def rollback_of(at: RolloutState) -> Rollback | None:
    """Return why the target has to be given up for the version before."""
    target, previous, coverage = at.target, at.previous, at.coverage
    if target is None:
        return None
    if previous is None:
        # One that some pod answers with is not bad as such.
        is_bad = coverage.refused and not coverage.loaded and at.fallback is not None
        return Rollback(version=target, state="Refused", message=coverage.message) if is_bad else None
    if coverage.refused and not coverage.complete:
        return Rollback(version=target, state="Refused", message=coverage.message)
    if at.spec.abort == target.number and not at.pinned:
        return Rollback(version=target, state="RolledBack", message=ABORTED)
    if at.limits is None:
        return None
    pods, names = at.deciding, (target.number, previous.number)
    broken = canary.breach(at.limits, measured_on(pods, target), measured_on(pods, previous), names)
    broken = broken or drop_beyond(at.limits, scored_on(at.pods, target, previous), names)
    return Rollback(version=target, state="RolledBack", message=broken) if broken else None


def with_next_step(at: RolloutState) -> RolloutState:
    """Begin the next step when this one is over; give the previous version up when the rollback window is."""
    progress, target, previous = at.progress, at.target, at.previous
    if progress is None or target is None:
        return at
    if previous is None:
        return replace(at, progress=None) if at.coverage.complete else at
    if progress.weight < canary.ALL and (at.pinned or at.spec.promote == target.number):
        return replace(at, progress=progress.model_copy(update={"weight": canary.ALL, "step_time": None}))
    if progress.step_time is None and 0 < at.coverage.desired <= len(at.deciding):
        progress = progress.model_copy(update={"step_time": at.now})
        at = replace(at, progress=progress)
    if progress.weight < canary.ALL:
        candidate, scored = measured_on(at.deciding, target), scored_on(at.pods, target, previous)
        if not canary.step_is_over(at.spec, progress, candidate, at.now, asking=scored.asking):
            return at
        weight = canary.next_weight(at.spec, progress.weight)
        return replace(at, progress=progress.model_copy(update={"weight": weight, "step_time": None}))
    return replace(at, previous=None, progress=None) if window_is_over(at, progress) else at


def window_is_over(at: RolloutState, progress: RolloutProgress) -> bool:
    """Whether the previous version may go: the time is up, its base has to go, or the pods have no room for it."""
    target, previous, begun_at = at.target, at.previous, progress.step_time
    if target is None or previous is None or begun_at is None:
        return False
    # Another base takes another engine: it is not kept for what may never happen.
    kept = previous.base_digest == target.base_digest and any(holds(pod, previous) for pod in at.pods)
    return not kept or at.now >= begun_at + timedelta(seconds=at.spec.rollback_window_seconds)
