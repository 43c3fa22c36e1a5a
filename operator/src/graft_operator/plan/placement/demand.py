"""Which of the adapters that are loaded on demand hold the places that are left for them: those that were asked last.

An adapter is evicted only when another one is asked for and needs its place, and then the one that has been idle
longest is (LRU). One that was asked for within the base's ``serving.onDemandIdleSeconds`` is never evicted, so that no
rate of requests can make an engine load and unload all the time. Agents tell when each adapter was last asked for, and
the base's status says which adapters hold a place. Nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.plan.snapshot import AdapterSnapshot, PodObserved

WATCHING_SECONDS: Final = 30.0
"""How often the pods are looked at while an adapter has no place, besides whenever they have news of one."""

SHORTEST_SECONDS: Final = 2.0
"""Between two looks while an adapter that is asked waits for a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Who was asked when, and who holds a place on one revision of a base."""

    now: datetime
    idle_seconds: int
    """For so long after it was last asked an adapter keeps its place."""
    asked: Mapping[str, datetime] = field(default_factory=dict)
    """When an adapter was last asked, as far as any pod knows."""
    absent: frozenset[str] = frozenset()
    """Adapters that had no place at the last look. A new adapter is not among them."""
    is_partial: bool = False
    """Whether a pod could not be asked: it may know that an adapter is in use which the other pods take for idle."""

    def precedence(self, adapter: str) -> tuple[bool, float, bool]:
        """Return a sort key: who comes first is given a place first."""
        is_absent, last = adapter in self.absent, self._last(adapter)
        in_use = not is_absent and (self.is_partial or self._seconds_kept(adapter) > 0)
        return not in_use, -last, is_absent

    def next_look(self, absent: Collection[str], resident: Iterable[str]) -> float | None:
        """Return seconds until the places may be given otherwise without news from a pod; None where all have one.

        While an absent one is asked, that is when the first resident one's time of keeping its place is over.
        """
        if not absent:
            return None
        recently = self.now.timestamp() - max(self.idle_seconds, WATCHING_SECONDS)
        if not any(self._last(adapter) > recently for adapter in absent):
            return WATCHING_SECONDS
        first = min((self._seconds_kept(adapter) for adapter in resident), default=WATCHING_SECONDS)
        return min(max(first, SHORTEST_SECONDS), WATCHING_SECONDS)

    def _last(self, adapter: str) -> float:
        return self.asked[adapter].timestamp() if adapter in self.asked else 0.0

    def _seconds_kept(self, adapter: str) -> float:
        """Return for how many seconds from now the adapter keeps its place, if nobody asks for it."""
        if adapter not in self.asked:
            return 0.0
        return (self.asked[adapter] + timedelta(seconds=self.idle_seconds) - self.now).total_seconds()


def demand_on(base: BaseModel, pods: Iterable[PodObserved], now: datetime) -> Demand:
    """Return the demand on a base, whose revisions differ only in who is absent. ``pods`` are those of all of them.

    A request counts wherever it came in: revisions and pods send it on to one another.
    """
    seen = tuple(pods)
    asked: dict[str, datetime] = {}
    for adapter, last in (item for pod in seen for item in pod.asked.items()):
        asked[adapter] = max(last, asked.get(adapter, last))
    return Demand(
        now=now,
        idle_seconds=base.spec.serving.on_demand_idle_seconds,
        asked=asked,
        is_partial=any(pod.ready and not pod.reachable for pod in seen),
    )


def absent_on(base: BaseModel, digest: str) -> frozenset[str]:
    """Return the adapters that had no place on the revision ``digest`` at the last look."""
    return frozenset(name for item in base.status.serving if item.digest == digest for name in item.not_resident)


def is_absent(seen: AdapterSnapshot, version: ServedVersion | None) -> bool:
    """Whether the adapter is loaded on demand, and its base has given its place on the version's revision to others."""
    if version is None or seen.base is None or seen.adapter.spec.serving.residency != "OnDemand":
        return False
    return seen.adapter.metadata.name in absent_on(seen.base, version.base_digest)
