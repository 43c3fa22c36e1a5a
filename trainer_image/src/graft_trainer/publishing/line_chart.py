"""Line charts as plain geometry; the template draws them as SVG, so they need neither script nor library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graft_trainer.training.history import Point

WIDTH: Final = 640
HEIGHT: Final = 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
"""Margins in pixels; labels stand in those to the left and at the bottom."""
INTERVALS: Final = 4
"""Between the ticks of an axis."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, in pixels from the left or from the top."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series; ``points`` are (x, y) in pixels."""

    label: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """The ``points`` attribute of an SVG polyline."""
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class LineChart:
    """A chart of WIDTH x HEIGHT pixels."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def line_chart(series: Mapping[str, Sequence[Point]]) -> LineChart | None:
    """Lay out the series that have points, on common axes; None where none has. Steps begin at 0."""
    drawn = {label: points for label, points in series.items() if points}
    values = [point.value for points in drawn.values() for point in points]
    if not values:
        return None
    last = max(1, *(point.step for points in drawn.values() for point in points))
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low) / 10 - 1e-9, high + abs(high) / 10 + 1e-9

    def x(step: float) -> float:
        return round(LEFT + step / last * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    steps = dict.fromkeys(round(last * part / INTERVALS) for part in range(INTERVALS + 1))
    levels = [low + (high - low) * part / INTERVALS for part in range(INTERVALS + 1)]
    return LineChart(
        lines=tuple(
            Line(label, tuple((x(point.step), y(point.value)) for point in points)) for label, points in drawn.items()
        ),
        x_ticks=tuple(Tick(x(step), str(step)) for step in steps),
        y_ticks=tuple(Tick(y(level), f"{level:.3g}") for level in levels),
    )
