"""The seconds in which pods hold GPUs, whether they use them or not: that is what is paid for.

A pod holds its GPUs from the moment when the kubelet has taken it in until its containers have ended. What was before
this process began is not counted again: its predecessor has told it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from graft_operator.manifests import labels
from graft_operator.telemetry.objects.views import ContainerView, PodView

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of pods that hold nothing any more."""


@dataclass(frozen=True, slots=True)
class Holder:
    """On whose behalf pods hold GPUs, and what for."""

    component: str
    namespace: str
    owner: str


class GpuTime:
    """Counts GPU seconds from what pods say of themselves at each look: nothing between two looks is lost."""

    def __init__(self, began: datetime) -> None:
        """Count from ``began`` on."""
        self._began = began
        self._counted: dict[str, float] = {}
        """Seconds of each pod that are in the totals already."""
        self.seconds: defaultdict[Holder, float] = defaultdict(float)
        self.gpus: defaultdict[Holder, float] = defaultdict(float)

    def look(self, pods: Iterable[PodView], now: datetime) -> None:
        """Count what the pods have held since the last look, and what they hold now."""
        counted: dict[str, float] = {}
        self.gpus.clear()
        for pod in pods:
            if not (gpus := gpus_of(pod)) or not pod.spec.node_name:
                continue
            holder = holder_of(pod)
            held = seconds_held(pod, self._began, now)
            # A clock that was set back takes nothing away: counters never fall.
            counted[pod.metadata.uid] = max(held, self._counted.get(pod.metadata.uid, 0.0))
            self.seconds[holder] += gpus * (counted[pod.metadata.uid] - self._counted.get(pod.metadata.uid, 0.0))
            if pod.status.phase not in ENDED:
                self.gpus[holder] += gpus
        self._counted = counted

    def keep(self, holders: Container[Holder]) -> None:
        """Forget all others: what they stood for is gone."""
        for holder in [holder for holder in self.seconds if holder not in holders]:
            del self.seconds[holder]


def holder_of(pod: PodView) -> Holder:
    """Return whose the pod is."""
    metadata = pod.metadata
    component, owner = metadata.labels.get(labels.COMPONENT, ""), metadata.annotations.get(labels.OWNER_NAME, "")
    return Holder(component, metadata.namespace, owner)


def seconds_held(pod: PodView, began: datetime, now: datetime) -> float:
    """Return how long the pod has held its GPUs since ``began``."""
    start = pod.status.start_time
    if start is None:
        return 0.0
    end = now
    if pod.status.phase in ENDED:
        ends = [item.state.terminated.finished_at for item in pod.status.container_statuses if item.state.terminated]
        end = max((_aware(end) for end in ends if end is not None), default=now)
    return max(0.0, (end - max(_aware(start), began)).total_seconds())


def gpus_of(pod: PodView) -> int:
    """Return the GPUs of the pod; one that is cut into parts counts each part that the pod has."""
    sidecars = [item for item in pod.spec.init_containers if item.restart_policy == "Always"]
    return sum(map(_gpus_of_container, (*pod.spec.containers, *sidecars)))


def is_gpu(resource: str) -> bool:
    """Whether an extended resource is a GPU, or a part of one, by the names that device plugins give."""
    domain, _, name = resource.partition("/")
    return name == "gpu" or name.startswith(("gpu.", "mig-")) or domain == "gpu.intel.com"


def _gpus_of_container(container: ContainerView) -> int:
    limits = container.resources.limits
    # Kubernetes takes whole numbers only of extended resources, and writes thousands as 1k.
    return sum(int(count) for name, count in limits.items() if is_gpu(name) and str(count).isdecimal())


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
