"""What is counted of the answers of one version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.answers import StreamedAnswer
from graft_serving.telemetry.answered import Answered, Caller, Usage
from graft_serving.telemetry.traffic import Measured, Traffic, latency_bucket


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(1.0, -1), (1.001, 0), (2.0, 7), (0.5, -9), (0.0, -107), (1e-4, -107), (3600.0, 94)]
)
def test_a_bucket_ends_with_its_upper_bound(seconds: float, bucket: int) -> None:
    assert latency_bucket(seconds) == bucket


@given(st.floats(1e-4, 4000))
def test_every_time_lies_in_its_bucket(seconds: float) -> None:
    bucket = latency_bucket(seconds)
    assert 2 ** (bucket / 8) * (1 - 1e-12) < seconds <= 2 ** ((bucket + 1) / 8) * (1 + 1e-12)


COUNTS: dict[str, tuple[Answered, int, int]] = {
    "An answer.": (Answered(status=200, seconds=1.0), 0, 1),
    "A request that was wrong is neither an error nor a latency.": (
        Answered(status=400, seconds=1.0),
        0,
        0,
    ),
    "The engine failed.": (Answered(status=500, seconds=1.0), 1, 0),
    "The answer broke off.": (Answered(status=200, seconds=1.0, complete=False), 1, 0),
}


@pytest.mark.parametrize(("answered", "errors", "timed"), COUNTS.values(), ids=COUNTS.keys())
def test_an_answer_is_counted(answered: Answered, errors: int, timed: int) -> None:
    traffic = Traffic()
    traffic.count(Caller(), answered)
    assert (traffic.requests, traffic.errors) == (1, errors)
    assert (traffic.measured.requests, traffic.measured.errors) == (1, errors)
    assert traffic.measured.latency.total() == timed


GOOD, BAD = Answered(status=200, seconds=1.0), Answered(status=500, seconds=1.0)


def measured(*callers: tuple[str, int, int]) -> Measured:
    """What was measured of clients with so many good and so many failed answers each."""
    found = Measured()
    for client, good, bad in callers:
        for answered in [GOOD] * good + [BAD] * bad:
            found.count(Caller(client), answered)
    return found


ERRORS: dict[str, tuple[Measured, int]] = {
    "Nobody asks.": (measured(), 0),
    "One client provokes errors, the others have none.": (measured(("a", 0, 10), ("b", 20, 0), ("c", 20, 0)), 1),
    "What fails for everybody counts in full.": (measured(("a", 9, 3), ("b", 9, 3), ("c", 9, 2)), 8),
    "One client has most of the errors of a version that fails for others, too.": (
        measured(("a", 0, 10), ("b", 10, 2), ("c", 10, 1)),
        7,
    ),
    "There is one client only, a gateway for instance.": (
        measured(
            ("a", 10, 10),
        ),
        20 - 10,
    ),
    "One client is most of the traffic.": (measured(("a", 90, 10), ("b", 5, 0)), 10),
}


@pytest.mark.parametrize(("found", "errors"), ERRORS.values(), ids=ERRORS.keys())
def test_what_one_client_provokes_does_not_decide_for_all(found: Measured, errors: int) -> None:
    assert found.errors == errors


def test_a_session_counts_once_so_that_nobody_asks_one_version_again_and_again() -> None:
    found = Measured()
    for _ in range(5):
        for session in ("chosen-1", "chosen-2", None):
            found.count(Caller("a", session), GOOD)
    assert (found.requests, found.latency.total()) == (7, 7)


def test_a_request_that_was_lost_is_an_error_without_a_time() -> None:
    traffic = Traffic()
    traffic.count(Caller(), None)
    assert (traffic.errors, traffic.measured.errors, traffic.measured.latency.total()) == (1, 1, 0)


def test_the_end_of_the_last_request_under_way_is_told_however_it_ends() -> None:
    traffic, told = Traffic(), []
    first = traffic.under_way(lambda: told.append(traffic.inflight))
    with first, traffic.under_way(lambda: pytest.fail("another one is under way")):
        assert traffic.inflight == 2
    with pytest.raises(TimeoutError), traffic.under_way(lambda: told.append(traffic.inflight)):
        raise TimeoutError
    assert told == [0, 0]


PACE: dict[str, tuple[Answered, float | None]] = {
    "The first token has a time of its own.": (
        Answered(status=200, seconds=3.0, first_token_seconds=1.0, usage=Usage(completion=5)),
        0.5,
    ),
    "An answer in one piece tells nothing.": (Answered(status=200, seconds=3.0, usage=Usage(completion=5)), None),
    "One token has no pace.": (
        Answered(status=200, seconds=3.0, first_token_seconds=3.0, usage=Usage(completion=1)),
        None,
    ),
    "A stream that broke off has none either.": (
        Answered(status=200, seconds=3.0, first_token_seconds=1.0, usage=Usage(completion=5), complete=False),
        None,
    ),
}


@pytest.mark.parametrize(("answered", "seconds"), PACE.values(), ids=PACE.keys())
def test_the_time_per_token(answered: Answered, seconds: float | None) -> None:
    assert answered.seconds_per_token == seconds


def usage_event(prompt: int, completion: int) -> bytes:
    return b'data: {"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n' % (prompt, completion)


EVENT, DONE = b"data: {}\n\n", b"data: [DONE]\n\n"
STREAMS: dict[str, tuple[tuple[bytes, ...], Usage]] = {
    "The events of a stream are its tokens.": ((EVENT + EVENT, EVENT + DONE), Usage(0, 3)),
    "What the engine tells counts.": ((EVENT, usage_event(3, 9) + DONE), Usage(3, 9)),
    "The last of several usages counts.": ((usage_event(3, 1), usage_event(3, 2), DONE), Usage(3, 2)),
    "What the model writes is no event.": ((b'data: {"text":"say data: {x}"}\n\n',), Usage(0, 1)),
}


@pytest.mark.parametrize(("chunks", "usage"), STREAMS.values(), ids=STREAMS.keys())
def test_the_tokens_of_a_stream(chunks: tuple[bytes, ...], usage: Usage) -> None:
    streamed = StreamedAnswer(None)
    for chunk in chunks:
        streamed.add(chunk)
    assert streamed.usage == usage
