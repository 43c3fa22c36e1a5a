"""Which version the alias should point to, and whether it really answers."""

from __future__ import annotations

from dataclasses import dataclass

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.plan.observed import PodObserved
from graft_registry.documents import StoredVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of the pods that should answer with a version do so."""

    desired: int
    loaded: int
    failed: int
    refused: bool = False
    """Whether a pod has refused the version for good."""
    message: str = ""
    """What the first failing pod says."""

    @property
    def complete(self) -> bool:
        """Whether every wanted replica answers with the version."""
        return 0 < self.desired <= self.loaded


NO_COVERAGE = Coverage(desired=0, loaded=0, failed=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where the alias should point, and what the pods say."""

    target: ServedVersion | None
    previous: ServedVersion | None
    coverage: Coverage
    previous_coverage: Coverage
    refused: ServedVersion | None = None
    """A version that was just given up because the pods refuse it."""
    refusal: str = ""

    @property
    def answering(self) -> ServedVersion | None:
        """The version that answers on every replica that it is wanted on."""
        if self.coverage.complete:
            return self.target
        return self.previous if self.previous_coverage.complete else None


def served(stored: StoredVersion) -> ServedVersion:
    """Return the short form of a stored version for status."""
    manifest = stored.manifest
    return ServedVersion(number=manifest.number, digest=stored.digest, base_digest=manifest.base.digest)


def coverage_of(version: ServedVersion | None, base: BaseModel | None, pods: tuple[PodObserved, ...]) -> Coverage:
    """Count the pods that answer with ``version``, of the replicas of the base that it belongs to."""
    if version is None or base is None:
        return NO_COVERAGE
    own = [pod for pod in pods if pod.base_digest == version.base_digest]
    failures = [
        (pod.name, seen)
        for pod in own
        for seen in pod.versions
        if seen.number == version.number and seen.state in ("Refused", "Failing")
    ]
    return Coverage(
        desired=wanted_replicas(base, version.base_digest),
        loaded=sum(answers(pod, version) for pod in own),
        failed=len(failures),
        refused=any(seen.state == "Refused" for _, seen in failures),
        message=f"{failures[0][0]}: {failures[0][1].reason}: {failures[0][1].message}" if failures else "",
    )


def wanted_replicas(base: BaseModel, base_digest: str) -> int:
    """Return the number of pods that are to serve one revision of the base."""
    revision = next((item for item in base.status.serving if item.digest == base_digest), None)
    return revision.replicas if revision else base.spec.serving.replicas


def answers(pod: PodObserved, version: ServedVersion) -> bool:
    """Whether requests that reach the pod are answered with exactly this version."""
    known = any((item.number, item.digest) == (version.number, version.digest) for item in pod.versions)
    return pod.ready and known and version.number in pod.active


def answering_versions(rollout: Rollout, base: BaseModel | None, pods: tuple[PodObserved, ...]) -> tuple[int, ...]:
    """Return the versions that answer while every wanted replica of one revision answers with some version.

    During a rollout some pods are ahead of others; clients are served all the same.
    """
    for version in (rollout.target, rollout.previous):
        if version is None or base is None:
            continue
        own = [pod for pod in pods if pod.base_digest == version.base_digest and pod.ready and pod.active]
        if 0 < wanted_replicas(base, version.base_digest) <= len(own):
            return tuple(sorted({number for pod in own for number in pod.active}))
    return ()


def is_carried_out(target: ServedVersion, previous: ServedVersion, desired: int, pods: tuple[PodObserved, ...]) -> bool:
    """Whether every wanted replica answers with the target *because of this decision*.

    A pod may answer with the target because of an earlier decision, whose successor is just on its way to take the
    target away (a base that is bumped back, for one). To give up ``previous`` then would leave nobody to answer.
    """
    decision = (target.number, previous.number)
    return desired <= sum(answers(pod, target) and pod.decision == decision for pod in pods)


def plan_rollout(
    wanted: ServedVersion | None,
    target: ServedVersion | None,
    previous: ServedVersion | None,
    base: BaseModel | None,
    pods: tuple[PodObserved, ...],
) -> Rollout:
    """Move the alias towards ``wanted``; keep what answers until the new one does; go back when it is refused."""
    if wanted is None and target is None:
        return Rollout(target=None, previous=None, coverage=NO_COVERAGE, previous_coverage=NO_COVERAGE)
    if wanted is not None and wanted != target:
        answers_everywhere = coverage_of(target, base, pods).complete
        previous = target if answers_everywhere or previous is None else previous
        # Numbers are given out anew after the loss of a registry; an agent can't hold two versions of one number.
        previous = None if previous is not None and previous.number == wanted.number else previous
        target = wanted
    coverage, before = coverage_of(target, base, pods), coverage_of(previous, base, pods)
    if coverage.refused and previous is not None and not coverage.complete:
        return Rollout(
            target=previous,
            previous=None,
            coverage=before,
            previous_coverage=NO_COVERAGE,
            refused=target,
            refusal=coverage.message,
        )
    if target and previous and coverage.complete and is_carried_out(target, previous, coverage.desired, pods):
        previous, before = None, NO_COVERAGE
    return Rollout(target=target, previous=previous, coverage=coverage, previous_coverage=before)
