"""How long a pod that failed is asked last."""

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
        ejections.failed("tiny-1")
        ejections.failed("tiny-1")
        begun = clock.now
        while "tiny-1" in ejections.names:
            clock.now += 1
        lasted.append(clock.now - begun)
    assert lasted[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert lasted[-1] == LONGEST_SECONDS


def test_a_pod_that_answers_is_forgiven() -> None:
    clock = Clock()
    ejections = Ejections(clock)
    ejections.failed("tiny-1")
    ejections.failed("tiny-2")
    ejections.answered("tiny-1")
    assert set(ejections.names) == {"tiny-2"}


def test_pods_that_are_gone_are_forgotten() -> None:
    ejections = Ejections(Clock())
    ejections.failed("tiny-1")
    ejections.keep(["tiny-2"])
    assert not ejections.names
