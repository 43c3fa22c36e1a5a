"""How well two versions answer the same probes on the engine that serves both. See docs/contracts.md §7.

The gate has compared them with the trainer's model. An engine that calculates otherwise may answer worse with the one
and not with the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.rollout import RolloutLimits
from graft_operator.plan.snapshot import PodObserved, ProbeScore


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """The answers of a candidate and of the stable version to the candidate's probes."""

    asked: int = 0
    """Probes asked of either, on all pods that have finished."""
    right: int = 0
    """Those that the candidate answered right."""
    stable_right: int = 0
    asking: bool = False
    """Whether a pod is not through yet."""

    @property
    def drop_percent(self) -> float:
        """Part of the probes, in percent, that fewer are answered right by the candidate; 0 where none were asked."""
        return 100 * (self.stable_right - self.right) / max(self.asked, 1)


def scored_on(pods: Iterable[PodObserved], candidate: ServedVersion, stable: ServedVersion) -> ScoredPair:
    """Add up what the pods that have asked both versions the candidate's probes tell."""
    asked = right = stable_right = 0
    asking = False
    for pod in pods:
        new, old = (score_on(pod, version, by=candidate) for version in (candidate, stable))
        if new is None or old is None:
            continue
        if new.complete and old.complete:
            asked += new.asked
            right += new.right
            stable_right += old.right
        else:
            asking = True
    return ScoredPair(asked, right, stable_right, asking)


def score_on(pod: PodObserved, version: ServedVersion, *, by: ServedVersion) -> ProbeScore | None:
    """Return how the version answers another one's probes on a pod; None where it was not asked those."""
    return next(
        (
            seen.score
            for seen in pod.versions
            if (seen.number, seen.digest) == (version.number, version.digest)
            and seen.score is not None
            and seen.score.of == by.digest
        ),
        None,
    )


def drop_beyond(limits: RolloutLimits, scored: ScoredPair, names: tuple[int, int]) -> str:
    """Return in words that the candidate answers worse than allowed; empty when it does not.

    ``names`` are the numbers of candidate and stable version.
    """
    new, old = names
    if scored.drop_percent <= limits.max_probe_score_drop_percent:
        return ""
    return (
        f"version {new} answered {scored.right} of {scored.asked} probes right on the serving engines, version {old}"
        f" {scored.stable_right}: {scored.drop_percent:.0f} % fewer, above limits.maxProbeScoreDropPercent"
        f" {limits.max_probe_score_drop_percent}"
    )
