"""Whether the pods really answer with a version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from graft_operator.api.adapter_status import ServedMode, ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.api.conditions import MESSAGE_LIMIT
from graft_operator.manifests.workloads.serving_workload import NOTICED_SECONDS
from graft_operator.plan.rollout.measured import Measured, added
from graft_operator.plan.snapshot import AdapterSnapshot, PodObserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of the pods that should answer with a version do so."""

    desired: int
    loaded: int
    failed: int
    refused: bool = False
    """Whether a pod has refused the version for good."""
    message: str = ""
    """What the first pod says on which the version fails, or which can't apply its wanted set: a pod may say anything,
    and at any length."""

    @property
    def complete(self) -> bool:
        """Whether every wanted replica answers with the version."""
        return 0 < self.desired <= self.loaded


NO_COVERAGE = Coverage(desired=0, loaded=0, failed=0)


def coverage_of(
    version: ServedVersion | None,
    base: BaseModel | None,
    pods: tuple[PodObserved, ...],
    *,
    replicas: int | None = None,
    alone: bool = False,
) -> Coverage:
    """Count the pods that answer with ``version``, of the replicas of the base that it belongs to.

    ``replicas`` is the adapter's own number of them; pods that stand in for others count up to that. ``alone`` leaves
    out the pods that answer with another version of the adapter, too.
    """
    if version is None or base is None:
        return NO_COVERAGE
    own = [pod for pod in pods if pod.base_digest == version.base_digest]
    failures = [
        (pod.name, seen)
        for pod in own
        for seen in pod.versions
        if seen.number == version.number and seen.state in ("Refused", "Failing")
    ]
    said = [f"{name}: {seen.reason}: {seen.message}" for name, seen in failures]
    said += [f"{pod.name}: {pod.problem}" for pod in own if pod.problem]
    desired = wanted_replicas(base, version.base_digest, own, replicas)
    loaded = sum(answers(pod, version) and (not alone or len(pod.active) == 1) for pod in own)
    return Coverage(
        desired=desired,
        loaded=loaded if replicas is None else min(loaded, desired),
        failed=len(failures),
        refused=any(seen.state == "Refused" for _, seen in failures),
        message=next(iter(said), "")[:MESSAGE_LIMIT],
    )


def as_reached(pods: Iterable[PodObserved], now: datetime) -> tuple[PodObserved, ...]:
    """Return the pods as clients find them: one that has only just become ready is not, for proxies may not know it."""
    return tuple(replace(pod, ready=False) if seconds_until_reached(pod, now) else pod for pod in pods)


def seconds_until_reached(pod: PodObserved, now: datetime) -> float:
    """Return for how long proxies may not know yet that the pod is ready; 0 where they do.

    A node whose clock is ahead of ours tells of a time that is yet to come. As Kubernetes does with minReadySeconds, we
    wait for it, or a pod that was reached would not be any more when the time has come.
    """
    if pod.ready_time is None:
        return 0.0
    return max(0.0, NOTICED_SECONDS - (now - pod.ready_time).total_seconds())


def coverage_in_mode(seen: AdapterSnapshot, version: ServedVersion | None, mode: ServedMode) -> Coverage:
    """Count the pods that answer with the version in one mode."""
    return coverage_of(version, seen.base, seen.pods_serving_as(mode), replicas=seen.replicas_serving_as(mode))


def wanted_replicas(base: BaseModel, base_digest: str, pods: Iterable[PodObserved], own: int | None = None) -> int:
    """Return the number of pods of one revision of the base that are to answer: ``own``, if there are so many.

    ``pods`` are those of the revision. Requests reach those that are too many, too, until they are told to go.
    """
    revision = next((item for item in base.status.serving if item.digest == base_digest), None)
    there = revision.replicas if revision else base.spec.serving.replicas
    if own is not None:
        return min(own, there)
    return max(there, sum(pod.ready for pod in pods)) if there else 0


def answers(pod: PodObserved, version: ServedVersion) -> bool:
    """Whether requests that reach the pod are answered, all or some of them, with exactly this version."""
    return pod.ready and holds(pod, version) and version.number in pod.active


def holds(pod: PodObserved, version: ServedVersion) -> bool:
    """Whether the pod knows exactly this version."""
    return any((item.number, item.digest) == (version.number, version.digest) for item in pod.versions)


def carries_out(pod: PodObserved, target: ServedVersion, previous: ServedVersion, weight: int) -> bool:
    """Whether the pod gives the target its part of the requests *because of this decision*.

    A pod may answer with the target because of an earlier decision, whose successor is just on its way to take the
    target away (a base that is bumped back, for one). To give up ``previous`` then would leave nobody to answer.
    """
    decided = pod.decision == (target.number, previous.number, weight)
    return decided and answers(pod, target) and pod.active[target.number] == weight


def measured_on(pods: Iterable[PodObserved], version: ServedVersion) -> Measured:
    """Return what these pods have measured of the version."""
    return added(item.measured for pod in pods for item in pod.versions if item.number == version.number)
