"""When the operator has come to rest, and what it has used."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.s3_proxy import S3Proxy
from tests.simulator import OperatorProcess, World
from tests.simulator.operator_process import Metrics, cpu_seconds_of

QUIET_SECONDS: Final = 5.0
"""So long nothing is written and nothing waits: then it is at rest."""
LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Used:
    """What the operator used over some time."""

    seconds: float
    api: dict[str, float]
    """Requests to the API server by verb and resource, without those for its lease."""
    s3: int
    agents: int
    passes: float
    cpu_seconds: float
    server_cpu_seconds: float
    """Of the API server and its etcd."""
    request_ms: float
    """How long a request to the API server took, in the mean."""
    peak_rss_mib: float

    @property
    def api_total(self) -> float:
        return sum(self.api.values())


@dataclass(slots=True)
class Meter:
    """Reads everything that an operator's doings can be told by. Begins to count when it is made."""

    world: World
    operator: OperatorProcess
    proxy: S3Proxy
    _at: float = field(default_factory=time.monotonic)
    _metrics: Metrics = field(default_factory=lambda: Metrics({}))
    _s3: int = 0
    _agents: int = 0
    _cpu: float = 0.0
    _server_cpu: float = 0.0

    async def start(self) -> None:
        """Count from now on."""
        self.operator.reset_peak()
        self._at, self._metrics = time.monotonic(), await self.operator.metrics()
        self._s3, self._agents = self.proxy.requests.total(), self.world.simulator.agent_requests
        self._cpu, self._server_cpu = self.operator.cpu_seconds(), self._server_cpu_seconds()

    async def read(self) -> Used:
        """Return what was used since the start."""
        metrics = await self.operator.metrics()
        before, after = self._metrics.api_requests(), metrics.api_requests()
        grown = {f"{verb} {kind}": count - before.get((verb, kind), 0.0) for (verb, kind), count in after.items()}
        return Used(
            seconds=time.monotonic() - self._at,
            api={name: count for name, count in sorted(grown.items()) if count},
            s3=self.proxy.requests.total() - self._s3,
            agents=self.world.simulator.agent_requests - self._agents,
            passes=metrics.passes() - self._metrics.passes(),
            cpu_seconds=self.operator.cpu_seconds() - self._cpu,
            server_cpu_seconds=self._server_cpu_seconds() - self._server_cpu,
            request_ms=self._request_ms(metrics),
            peak_rss_mib=self.operator.peak_rss_kib / 1024,
        )

    def _server_cpu_seconds(self) -> float:
        return sum(cpu_seconds_of(pid) for pid in self.world.plane.pids.values())

    def _request_ms(self, now: Metrics) -> float:
        seconds, requests = (
            now.total(name) - self._metrics.total(name)
            for name in ("graft_kubernetes_request_seconds_sum", "graft_kubernetes_request_seconds_count")
        )
        return 1000 * seconds / max(1.0, requests)


async def until_at_rest(operator: OperatorProcess, *, passes: int = 0, patience: float) -> float | None:
    """Return the seconds until the operator was at rest; None where it is not within ``patience`` seconds.

    At rest means: it leads, it has looked ``passes`` times since the process began, and for QUIET_SECONDS nothing has
    waited in its queue and nothing was written. Those seconds do not count.
    """
    began = time.monotonic()
    moved, writes = began, -1.0
    while time.monotonic() - began < patience:
        metrics = await operator.metrics()
        now = time.monotonic()
        leads = metrics.total("graft_leader") == 1 and metrics.passes() >= passes
        if not leads or metrics.writes() != writes or metrics.total("graft_queue_depth") > 0:
            moved, writes = now, metrics.writes()
        if now - moved >= QUIET_SECONDS:
            return moved - began
        if not operator.is_running:
            raise RuntimeError(f"the operator has ended; see {operator.log}")
        await asyncio.sleep(LOOK_SECONDS)
    return None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of the values do not exceed; NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class JobTimes:
    """From the request that applies an adapter to the first sight of its training Job, in seconds."""

    def __init__(self, world: World) -> None:
        self._applied: dict[tuple[str, str], float] = {}
        self._seen: dict[tuple[str, str], float] = {}
        world.simulator.jobs.on_training = self._on_training

    def applied(self, namespace: str, adapter: str) -> None:
        """Take note that an adapter is being applied now."""
        self._applied[namespace, adapter] = time.monotonic()

    async def all_seen(self, patience: float) -> bool:
        """Wait until each has its Job; tell whether that came within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not self._seen.keys() >= self._applied.keys():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.2)
        return True

    def summary(self) -> dict[str, Any]:
        """Return count and percentiles; those that have no Job yet count as waiting until now."""
        now = time.monotonic()
        waits = [max(0.0, self._seen.get(key, now) - at) for key, at in self._applied.items()]
        return {
            "adapters": len(waits),
            "without": len(self._applied.keys() - self._seen.keys()),
            "p50": percentile(waits, 50),
            "p99": percentile(waits, 99),
            "max": max(waits, default=float("nan")),
        }

    def _on_training(self, namespace: str, adapter: str, at: float) -> None:
        # A Job may be seen before whoever has applied the adapter says so.
        self._seen.setdefault((namespace, adapter), at)


def per_second(used: Used) -> dict[str, float]:
    """Return the rates over the time."""
    return {"api": used.api_total / used.seconds, "s3": used.s3 / used.seconds, "agents": used.agents / used.seconds}


def most_frequent(requests: dict[str, float]) -> dict[str, float]:
    """Return the five most frequent requests."""
    return dict(Counter(requests).most_common(5))
