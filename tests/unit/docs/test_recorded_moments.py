"""The moments in an adapter's life at which the scenes of the recordings begin and end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.recordings.moments import Moment, candidate, failed, in_training, seen, served

NEVER_SEEN: dict[str, Any] = {"metadata": {"name": "topic", "generation": 1}}


def adapter(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "topic", "generation": 4}, "status": {"observedGeneration": 4, **status}}


def conditions(**statuses: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": status, "reason": "Tested"} for kind, status in statuses.items()]


SETTLED = conditions(Ready="True", UpToDate="True", Reconciling="False")
ROLLING_OUT = conditions(Ready="True", UpToDate="True", Reconciling="True")
SPLIT = {"rollout": {"weight": 20, "startTime": "2026-01-01T12:00:00Z", "stepTime": "2026-01-01T12:00:05Z"}}
NOT_YET_SPLIT = {"rollout": {"weight": 20, "startTime": "2026-01-01T12:00:00Z"}}
TRAINING = {"job": "topic-train-ab12cd34", "state": "Training", "step": 4, "maxSteps": 166}


@pytest.mark.parametrize(
    ("moment", "it_is", "it_is_not"),
    [
        (
            served(2),
            adapter(conditions=SETTLED, servedVersion=2),
            [
                adapter(conditions=SETTLED, servedVersion=1),
                adapter(conditions=ROLLING_OUT, servedVersion=2),
                adapter(conditions=SETTLED, servedVersion=2, observedGeneration=3),
            ],
        ),
        (
            candidate(3),
            adapter(candidateVersion=3, serving=SPLIT),
            [
                adapter(candidateVersion=3, serving=NOT_YET_SPLIT),
                adapter(candidateVersion=2, serving=SPLIT),
                adapter(serving={"rollout": None}),
            ],
        ),
        (seen, adapter(), [adapter(observedGeneration=3)]),
        (
            in_training,
            adapter(training=TRAINING),
            [adapter(training={**TRAINING, "state": "Loading", "step": 0}), adapter(training=None), adapter()],
        ),
        (
            failed,
            adapter(failedTrainings={"reason": "BadDataset", "count": 1}),
            [adapter(), adapter(failedTrainings=None)],
        ),
    ],
    ids=["served", "candidate", "seen", "in_training", "failed"],
)
def test_a_moment_is_told_from_others(moment: Moment, it_is: Any, it_is_not: list[Any]) -> None:
    assert moment(it_is)
    assert not any(moment(other) for other in [*it_is_not, NEVER_SEEN])
