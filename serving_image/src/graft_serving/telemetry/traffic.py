"""What one version, or the bare base, has answered: counted for the operator's judgement of it."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graft_serving.telemetry.answered import Answered

BUCKETS_PER_DOUBLING = 8
"""OpenTelemetry's exponential histogram of scale 3: each bucket is 9 % wide, and buckets of several pods add up."""
SHORTEST_SECONDS = 1e-4
"""A shorter time, or none, counts as this: zero has no logarithm."""


def latency_bucket(seconds: float) -> int:
    """The number i of the bucket, with 2^(i/8) < seconds <= 2^((i+1)/8)."""
    return math.ceil(math.log2(max(seconds, SHORTEST_SECONDS)) * BUCKETS_PER_DOUBLING) - 1


@dataclass(slots=True)
class Measured:
    """The answers since the alias's present route came into force."""

    requests: int = 0
    errors: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    """Bucket → number of complete 2xx answers."""


@dataclass(slots=True)
class Traffic:
    """The answers under way, those since the version is known here, and those since the last change of its route."""

    inflight: int = 0
    requests: int = 0
    errors: int = 0
    measured: Measured = field(default_factory=Measured)

    @contextlib.contextmanager
    def under_way(self, on_idle: Callable[[], None]) -> Iterator[None]:
        """Count a request for as long as it is under way; `on_idle` is called at the end of the last one."""
        self.inflight += 1
        try:
            yield
        finally:
            self.inflight -= 1
            if self.inflight == 0:
                on_idle()

    def count(self, answered: Answered) -> None:
        """Count an answer that has ended."""
        self._count(failed=answered.failed)
        if answered.complete and answered.status // 100 == 2:
            self.measured.latency[latency_bucket(answered.seconds)] += 1

    def count_lost(self) -> None:
        """Count a request that the engine lost before the first byte of an answer."""
        self._count(failed=True)

    def measure_anew(self) -> None:
        """Forget what was measured: from now on another route is in force."""
        self.measured = Measured()

    def _count(self, *, failed: bool) -> None:
        self.requests += 1
        self.errors += failed
        self.measured.requests += 1
        self.measured.errors += failed
