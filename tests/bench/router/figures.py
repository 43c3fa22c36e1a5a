"""The figures of `make bench-router`, and the table that they are shown in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import Final, Self

from tests.bench.router.open_loop import Measurement

BEGIN: Final = "<!-- made by make bench-router -->"
DIRECT: Final = "the engine itself"
AGENT: Final = "Graft's agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one contestant has needed for an answer, in milliseconds."""

    requests: int
    failed: int
    p50: float
    p90: float
    p99: float
    cpu: float | None
    """CPU time for each answer; None where it isn't measured."""

    @classmethod
    def of(cls, measured: Measurement, cpu_seconds: float) -> Self:
        """The figures of a measurement in which the process has used so much CPU time."""
        cuts = quantiles(measured.last_byte, n=100)
        answered = len(measured.last_byte)
        return cls(
            requests=answered,
            failed=measured.failed,
            p50=1000 * cuts[49],
            p90=1000 * cuts[89],
            p99=1000 * cuts[98],
            cpu=1000 * cpu_seconds / answered if cpu_seconds else None,
        )


def table(results: Mapping[str, Mapping[str, Figures]]) -> str:
    """The results by kind of answer and contestant, as a table of Markdown."""
    lines = ["| | | answered | failed | p50 | p90 | p99 | CPU an answer |", "|---|---|---|---|---|---|---|---|"]
    for kind, found in results.items():
        for name, one in found.items():
            cpu = "" if one.cpu is None else f"{one.cpu:.2f} ms"
            cuts = " | ".join(f"{cut:.2f} ms" for cut in (one.p50, one.p90, one.p99))
            lines.append(f"| {kind} | {name} | {one.requests:,} | {one.failed} | {cuts} | {cpu} |")
    return "\n".join(lines)
