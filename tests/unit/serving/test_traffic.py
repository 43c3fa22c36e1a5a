"""What is counted of the answers of one version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.answers import StreamedUsage
from graft_serving.telemetry.answered import Answered, Usage
from graft_serving.telemetry.traffic import Traffic, latency_bucket


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
    traffic.count(answered)
    assert (traffic.requests, traffic.errors) == (1, errors)
    assert (traffic.measured.requests, traffic.measured.errors) == (1, errors)
    assert traffic.measured.latency.total() == timed


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
    streamed = StreamedUsage()
    for chunk in chunks:
        streamed.add(chunk)
    assert streamed.total == usage
