"""Whether the training loss was still falling when the training ended."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

LEAST_LOGS: Final = 8
"""Below two logs in a quarter the noise of single batches decides."""


def late_improvement(losses: Sequence[float]) -> float | None:
    """Return by what part the mean training loss fell from the third to the last quarter of the logs.

    About 0 on a plateau, negative where the loss rose; None where there are too few logs to tell. ``losses`` are nats
    per token, equally spaced over the steps.
    """
    if len(losses) < LEAST_LOGS:
        return None
    quarter = len(losses) // 4
    third, last = fmean(losses[-2 * quarter : -quarter]), fmean(losses[-quarter:])
    return (third - last) / third if third > 0 else None
