"""What the serving pods have measured of one version, and the figures that are compared. See docs/contracts.md §7."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKETS_PER_DOUBLING: Final = 8
"""OpenTelemetry's exponential histogram of scale 3: bucket ``i`` ends at 2^((i+1)/8) seconds."""

PERCENTILE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers of one version since its alias's route last changed, on one pod or on several."""

    requests: int = 0
    errors: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    """Complete 2xx answers by bucket."""

    @property
    def answers(self) -> int:
        """Answers whose time is known."""
        return sum(self.latency.values())

    def error_percent(self, at_least: int = 1) -> float:
        """Return the errors in percent of the requests, or of ``at_least`` if there are fewer."""
        return 100 * self.errors / max(self.requests, at_least, 1)

    def slow_seconds(self) -> float:
        """Return the 95th percentile of the seconds, as the upper end of its bucket; 0 without answers."""
        rank, seen = math.ceil(PERCENTILE * self.answers), 0
        for bucket in sorted(self.latency):
            seen += self.latency[bucket]
            if seen >= rank:
                return float(2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING))
        return 0.0


def added(parts: Iterable[Measured]) -> Measured:
    """Return what several pods have measured together."""
    requests = errors = 0
    latency: Counter[int] = Counter()
    for part in parts:
        requests += part.requests
        errors += part.errors
        latency.update(part.latency)
    return Measured(requests, errors, latency)
