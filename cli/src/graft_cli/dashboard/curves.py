"""Training curves, of what the API server has: the progress in status, and the log of the trainer.

The full history lies in the version's report, in the object store. Until there is one, a curve is what has been seen
since the dashboard was started, and what the trainer's pods still have in their logs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graft_operator.api.adapter_status import TrainingProgress

POINTS_KEPT: Final = 1000
"""Of one series; beyond, every second point goes."""

LOGGED: Final = re.compile(r"step (\d{1,9})/(\d{1,9}): (eval )?loss (\d{1,9}(?:\.\d{1,9})?)\b")
"""A line of the trainer's log that tells a loss."""


@dataclass(frozen=True, slots=True)
class Point:
    """A loss at an optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one training."""

    job: str
    training: tuple[Point, ...] = ()
    evaluation: tuple[Point, ...] = ()
    max_steps: int = 0


def grown(curve: Curve | None, progress: TrainingProgress) -> Curve:
    """Return the curve with what status tells now; a new Job begins a new one."""
    if curve is None or curve.job != progress.job:
        curve = Curve(progress.job)
    point = point_of(progress.step, progress.loss)
    points = curve.training if point is None else with_points(curve.training, (point,))
    return Curve(curve.job, points, curve.evaluation, progress.max_steps)


def logged(lines: Iterable[str], job: str) -> Curve:
    """Return the curve that the trainer's log tells; other lines are passed over."""
    training, evaluation, last = dict[int, Point](), dict[int, Point](), 0
    for line in lines:
        found = LOGGED.search(line)
        point = point_of(int(found[1]), found[4]) if found else None
        if found and point is not None:
            (evaluation if found[3] else training)[point.step] = point
            last = int(found[2])
    return Curve(job, with_points((), training.values()), with_points((), evaluation.values()), last)


def merged(seen: Curve | None, told: Curve) -> Curve:
    """Return what was seen and what the log tells, in one; the log is the more exact of the two."""
    if seen is None or seen.job != told.job:
        return told
    return Curve(
        seen.job,
        with_points(seen.training, told.training),
        with_points(seen.evaluation, told.evaluation),
        max(seen.max_steps, told.max_steps),
    )


def with_points(known: Iterable[Point], new: Iterable[Point]) -> tuple[Point, ...]:
    """Return points by step, the new ones in place of known ones, and never more than are kept."""
    by_step = {point.step: point for point in (*known, *new)}
    points = tuple(by_step[step] for step in sorted(by_step))
    while len(points) > POINTS_KEPT:
        points = (*points[:-1:2], points[-1])  # the newest always stays
    return points


def point_of(step: int, loss: str | None) -> Point | None:
    """Return a point; None where there is no number."""
    try:
        value = float(loss or "")
    except ValueError:
        return None
    return Point(step, value) if math.isfinite(value) else None
