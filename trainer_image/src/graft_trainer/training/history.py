"""The course of a training, from what the Trainer has logged over all pods of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """A value at an optimizer step."""

    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """Losses in nats per token. A training loss is the mean since the point before, or since a resume after it."""

    loss: tuple[Point, ...]
    learning_rate: tuple[Point, ...]
    evaluation_loss: tuple[Point, ...]


def history_of(log: Iterable[Mapping[str, Any]]) -> TrainingHistory:
    """Read the ``log_history`` of a ``trainer_state.json``, which is part of every checkpoint."""
    entries = list(log)
    return TrainingHistory(
        loss=_points(entries, "loss"),
        learning_rate=_points(entries, "learning_rate"),
        evaluation_loss=_points(entries, "eval_loss"),
    )


def _points(entries: Iterable[Mapping[str, Any]], name: str) -> tuple[Point, ...]:
    return tuple(
        Point(int(entry["step"]), float(entry[name]))
        for entry in entries
        if name in entry and math.isfinite(entry[name])
    )
