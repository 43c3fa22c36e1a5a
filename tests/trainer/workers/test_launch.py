"""Which of the workers' ends is the pod's."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft_trainer.outcome import Outcome, Reason, report
from graft_trainer.workers.launch import outcome_of_pod, read_reports

DIVERGED = Outcome(reason=Reason.DIVERGED, message="the loss became nan", field="spec.training.learningRate", step=10)
PUBLISHED = Outcome(reason=Reason.PUBLISHED, message="published version 1", number=1, step=12)
PREEMPTED = Outcome(reason=Reason.PREEMPTED, message="stopped by SIGTERM", step=7)
LOST = Outcome(reason=Reason.WORKER_LOST, message="another worker is gone")

PODS: dict[str, tuple[dict[int, Outcome], dict[int, int], tuple[Reason, int]]] = {
    "all have published": ({0: PUBLISHED, 1: PUBLISHED}, {}, (Reason.PUBLISHED, 0)),
    "all were asked to stop": ({0: PREEMPTED, 1: PREEMPTED}, {0: 143, 1: 143}, (Reason.PREEMPTED, 143)),
    "a worker's own trouble is what the others lost it to": (
        {0: LOST, 1: DIVERGED},
        {0: 70, 1: 67},
        (Reason.DIVERGED, 67),
    ),
    "a worker that was killed could not say anything": ({0: LOST}, {0: 70, 1: -9}, (Reason.OUT_OF_MEMORY, 69)),
    "a worker that broke down without a word has crashed": ({0: LOST}, {0: 70, 1: -11}, (Reason.CRASHED, 1)),
    "the worker that is gone was another pod's": ({0: LOST, 1: LOST}, {0: 70, 1: 70}, (Reason.WORKER_LOST, 70)),
    "one was stopped because of the other's loss": ({0: LOST, 1: PREEMPTED}, {0: 70, 1: 143}, (Reason.WORKER_LOST, 70)),
    "nobody said anything": ({}, {}, (Reason.CRASHED, 1)),
}


@pytest.mark.parametrize(("reports", "codes", "expected"), PODS.values(), ids=PODS)
def test_the_outcome_of_a_pod(reports: dict[int, Outcome], codes: dict[int, int], expected: tuple[Reason, int]) -> None:
    outcome = outcome_of_pod(reports, codes)
    assert (outcome.reason, outcome.exit_code) == expected


def test_reports_are_read_as_they_were_written(tmp_path: Path) -> None:
    report(DIVERGED, tmp_path / "0")
    report(PUBLISHED, tmp_path / "11")
    assert read_reports(tmp_path) == {0: DIVERGED, 11: PUBLISHED}
