"""Whether the training loss still fell at the end."""

from __future__ import annotations

import pytest

from graft_trainer.training.plateau import late_improvement

CURVES: dict[str, tuple[list[float], float | None]] = {
    "too few logs to tell": ([4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0], None),
    "a plateau": ([4.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0], 0.0),
    "half from the third to the last quarter": ([8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 1.0, 1.0], 0.5),
    "noise around a plateau": ([4.0, 4.0, 1.0, 1.0, 1.1, 0.9, 0.9, 1.1], 0.0),
    "a loss that rises": ([1.0] * 6 + [2.0, 2.0], -1.0),
    "logs that quarters don't divide": ([9.0] * 7 + [2.0, 2.0, 1.0, 1.0], 0.5),
    "a loss of nothing": ([0.0] * 8, None),
}


@pytest.mark.parametrize(("losses", "improvement"), CURVES.values(), ids=CURVES)
def test_late_improvement(losses: list[float], improvement: float | None) -> None:
    assert late_improvement(losses) == (None if improvement is None else pytest.approx(improvement))
