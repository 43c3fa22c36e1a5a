"""Whether clients wait for an engine, and whether it gives them anything."""

import math

from graft_serving.engine.activity import ClientActivity


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_before_the_first_client_nobody_has_asked_for_ever() -> None:
    clients = ClientActivity(Clock())
    assert clients.seconds_unasked == clients.seconds_silent == math.inf


def test_a_client_asks_for_as_long_as_its_answer_takes_and_the_pause_begins_with_the_end_of_the_last_one() -> None:
    clock = Clock()
    clients = ClientActivity(clock)
    with clients.waiting():
        with clients.waiting():
            clock.now += 60
            assert clients.seconds_unasked == 0
        clock.now += 60
        assert clients.seconds_unasked == 0
    clock.now += 3
    assert clients.seconds_unasked == 3


def test_a_request_that_fails_is_one_that_waits_no_more() -> None:
    clock = Clock()
    clients = ClientActivity(clock)
    try:
        with clients.waiting():
            raise ConnectionResetError
    except ConnectionResetError:
        clock.now += 1
    assert clients.seconds_unasked == 1


def test_only_what_the_engine_gives_is_a_sign_of_life_not_that_somebody_waits_for_it() -> None:
    clock = Clock()
    clients = ClientActivity(clock)
    with clients.waiting():
        clients.note_sign_of_life()
        clock.now += 30
        assert clients.seconds_silent == 30
        clients.note_sign_of_life()
        clock.now += 2
        assert clients.seconds_silent == 2
