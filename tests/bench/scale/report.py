"""The table of docs/scale.md, made from the figures of one or more measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

Figures = dict[str, Any]
BEGIN: Final = "<!-- made by make bench-scale -->"
END: Final = "<!-- end -->"
ROWS: Final[tuple[tuple[str, str, str], ...]] = (
    ("adapters that kubectl applies a second", "apply.applied_per_s", ""),
    ("apply → Job, p50, s", "apply.p50", ""),
    ("apply → Job, p99, s", "apply.p99", "< 2"),
    ("cores of the operator until the last Job is there", "apply.operator_cores", ""),
    ("cores of API server and etcd", "apply.server_cores", ""),
    ("one of the operator's requests to the API server, ms", "apply.request_ms", ""),
    ("peak memory while they are applied, MiB", "apply.peak_rss_mib", "< 400"),
    ("API requests for one new adapter", "apply.api_per_adapter", ""),
    ("S3 requests for one new adapter", "apply.s3_per_adapter", ""),
    ("restart → at rest, s", "restart.rest_s", "< 60"),
    ("of that, CPU, s", "restart.cpu_seconds", ""),
    ("API requests of a restart", "restart.api", ""),
    ("S3 requests of a restart", "restart.s3", ""),
    ("peak memory of a restart, MiB", "restart.peak_rss_mib", "< 400"),
    ("at rest: API requests a second", "restart.idle_api_per_s", "< 1"),
    ("at rest: S3 requests a second", "restart.idle_s3_per_s", "< 1"),
    ("at rest: CPU, s a minute", "restart.idle_cpu_seconds", ""),
    ("at rest: memory, MiB", "restart.idle_rss_mib", "< 400"),
    ("resyncs: API requests a second", "resync.api_per_s", ""),
    ("resyncs: peak memory, MiB", "resync.peak_rss_mib", "< 400"),
    ("bump of the largest base, adapters", "bumps.large.adapters", ""),
    ("its time, s", "bumps.large.seconds", ""),
    ("API requests for each of them", "bumps.large.api_per_adapter", ""),
    ("S3 requests for each of them", "bumps.large.s3_per_adapter", ""),
    ("times those of a bump of a quarter as many", "bumps.growth", "about 1"),
    ("new adapters of others, p99, s", "neighbours.alone.p99", ""),
    ("times that beside ten hostile pods", "neighbours.hostile.times_alone", "< 2"),
    ("times that beside a broken base", "neighbours.broken.times_alone", "< 2"),
)
"""What a row says, where the figure is, and what it is to be."""


def table(measurements: Sequence[Figures]) -> str:
    """Return the table as Markdown, a column for each measurement."""
    heads = [f"{item['options']['adapters']:,} adapters over {item['options']['bases']} bases" for item in measurements]
    lines = [f"| | target | {' | '.join(heads)} |", f"|---|---|{'---|' * len(heads)}"]
    for name, path, target in ROWS:
        cells = " | ".join(shown(found(item, path)) for item in measurements)
        lines.append(f"| {name} | {target} | {cells} |")
    return "\n".join(lines)


def found(figures: Figures, path: str) -> Any:
    """Return the figure at a dotted path; None where it was not measured."""
    value: Any = figures
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def shown(value: Any) -> str:
    """Return a figure with three digits that count; a dash where there is none."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write(page: Path, text: str, mark: str = BEGIN) -> None:
    """Put the table between the marks of a page. Raises ValueError where the page has none."""
    before, begin, rest = page.read_text().partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the table: {mark} … {END}")
    page.write_text(f"{before}{mark}\n{text}\n{END}{after}")
