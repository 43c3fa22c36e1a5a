"""How long a pod that failed is asked last."""

import pytest

from graft_serving.proxy.attempts import Outcome
from graft_serving.proxy.ejection import FIRST_SECONDS, LONGEST_SECONDS, Ejections


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_pod_that_failed_is_left_out_for_a_while_and_longer_when_it_fails_again() -> None:
    clock = Clock()
    ejections = Ejections(clock)
    lasted = []
    for _ in range(8):
        ejections.tried("tiny-1", Outcome.UNREACHABLE)
        ejections.tried("tiny-1", Outcome.UNREACHABLE)
        begun = clock.now
        while "tiny-1" in ejections.names:
            clock.now += 1
        lasted.append(clock.now - begun)
    assert lasted[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert lasted[-1] == LONGEST_SECONDS


def test_a_pod_that_answers_is_forgiven() -> None:
    clock = Clock()
    ejections = Ejections(clock)
    ejections.tried("tiny-1", Outcome.UNREACHABLE)
    ejections.tried("tiny-2", Outcome.LOST)
    ejections.tried("tiny-1", Outcome.ANSWERED)
    assert set(ejections.names) == {"tiny-2"}


@pytest.mark.parametrize("outcome", [Outcome.UNREACHABLE, Outcome.LOST, Outcome.DIED])
def test_a_pod_that_fails_is_asked_last_and_a_further_failure_does_not_forgive_it(outcome: Outcome) -> None:
    ejections = Ejections(Clock())
    for _ in range(2):
        ejections.tried("tiny-1", outcome)
        assert set(ejections.names) == {"tiny-1"}


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.REFUSED, Outcome.TIMED_OUT])
def test_a_pod_that_leaves_a_request_to_others_or_takes_too_long_stays_what_it_was(outcome: Outcome) -> None:
    ejections = Ejections(Clock())
    ejections.tried("tiny-1", outcome)
    assert not ejections.names
    ejections.tried("tiny-1", Outcome.DIED)
    ejections.tried("tiny-1", outcome)
    assert set(ejections.names) == {"tiny-1"}


def test_pods_that_are_gone_are_forgotten() -> None:
    ejections = Ejections(Clock())
    ejections.tried("tiny-1", Outcome.UNREACHABLE)
    ejections.keep(["tiny-2"])
    assert not ejections.names
