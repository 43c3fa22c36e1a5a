"""Renaming models in answers, on the bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.answers import LongAnswer, ModelName, StreamedAnswer, is_dying, lacks_model, usage_in
from graft_serving.telemetry.answered import Usage

ENGINE = "support--v7-0123abcd"


def test_the_name_is_replaced_with_and_without_spaces() -> None:
    name = ModelName(ENGINE, "support")
    assert name.put_into(f'{{"model":"{ENGINE}"}}'.encode()) == b'{"model":"support"}'
    assert name.put_into(f'{{"model": "{ENGINE}"}}'.encode()) == b'{"model": "support"}'


def test_what_the_model_wrote_is_left_alone() -> None:
    text = f'say "model":"{ENGINE}" and {ENGINE}'
    body = json.dumps({"text": text, "model": ENGINE}, separators=(",", ":")).encode()
    assert json.loads(ModelName(ENGINE, "support").put_into(body)) == {"text": text, "model": "support"}


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_stream_is_renamed_however_it_is_cut(sizes: list[int]) -> None:
    event = f'data: {{"model":"{ENGINE}","n":1}}\n\n'.encode()
    stream, answer, received = event * 4, StreamedAnswer(ModelName(ENGINE, "support")), b""
    for size in [*sizes, len(stream)]:
        received += answer.add(stream[:size])
        stream = stream[size:]
    received += answer.rest()
    assert received == event.replace(ENGINE.encode(), b"support") * 4


@pytest.mark.parametrize("space", ["", " "])
@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_long_answer_is_renamed_and_counted_however_it_is_cut(space: str, sizes: list[int]) -> None:
    head = f'{{"model":{space}"{ENGINE}","text":"\\"model\\":\\"{ENGINE}\\"",'
    whole = f'{head}"usage":{space}{{"prompt_tokens":30,"completion_tokens":512}},"prompt_logprobs":[null]}}'.encode()
    left, answer, received = whole, LongAnswer(ModelName(ENGINE, "support")), b""
    for size in [*sizes, len(left)]:
        received += answer.add(left[:size])
        left = left[size:]
    received += answer.rest()
    assert received == ModelName(ENGINE, "support").put_into(whole)
    assert json.loads(received)["model"] == "support"
    assert answer.usage == Usage(prompt=30, completion=512)


def test_of_a_long_answer_no_more_is_held_than_a_name_takes() -> None:
    answer = LongAnswer(ModelName(ENGINE, "support"))
    assert len(answer.add(b"x" * 1_000_000)) > 1_000_000 - 100
    assert LongAnswer(None).add(b"x" * 1_000_000) == b"x" * 1_000_000


def test_a_line_is_not_held_back() -> None:
    assert StreamedAnswer(ModelName(ENGINE, "support")).add(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"


def test_usage_is_read_where_the_engine_tells_it() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":3,"total_tokens":8,"completion_tokens":5}}'
    assert usage_in(body) == Usage(prompt=3, completion=5)
    assert usage_in(b'{"usage":{"prompt_tokens":3,"total_tokens":3}}') == Usage(prompt=3)
    assert usage_in(b'{"usage":null}') is None
    assert usage_in(b"data: {}") is None
    assert usage_in(b'{"usage": {"input_tokens": 3, "output_tokens": 5}}') == Usage(prompt=3, completion=5)


def test_a_token_that_is_called_usage_hides_no_usage() -> None:
    body = b'{"usage":{"prompt_tokens":3,"completion_tokens":5},"prompt_logprobs":[{"usage":-0.1},{"9":{"usage":1}}]}'
    assert usage_in(body) == Usage(prompt=3, completion=5)


DONE = b"data: [DONE]\n\n"
TOKEN = b'data: {"id":"1","model":"a","choices":[{"text":"x"}]}\n\n'
STREAMS: dict[str, tuple[bytes, bool]] = {
    "OpenAI's, to its end.": (TOKEN + DONE, True),
    "OpenAI's, without an end.": (TOKEN, False),
    "Nothing at all.": (b"", False),
    "An error before the end.": (TOKEN + b'data: {"error":{"message":"boom","code":500}}\n\n' + DONE, False),
    "An error in another spelling.": (b'data: {"error": {"message": "boom"}}\n\n' + DONE, False),
    "An error in vLLM's older shape.": (b'data: {"object":"error","message":"boom","code":500}\n\n' + DONE, False),
    "An error without a space.": (b'data:{"error":{"message":"boom"}}\n\n' + DONE, False),
    "What the client did wrong.": (b'data: {"error":{"message":"too long","code":400}}\n\n' + DONE, True),
    "What the client did wrong, quoted at length.": (
        TOKEN + b'data: {"error":{"message":"not in ' + b"x" * 9000 + b'","code":400}}\n\n' + DONE,
        True,
    ),
    "What the client did wrong, and nothing behind it.": (b'data: {"error":{"message":"no","code":400}}\n\n', True),
    "What the client did wrong, of Anthropic.": (
        b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error","message":"no"}}\n\n',
        True,
    ),
    "What the client did wrong, with a name and a code.": (
        b'event: error\ndata: {"error":{"message":"no","type":"BadRequestError","code":400}}\n\n' + DONE,
        True,
    ),
    "An error that breaks off before it is told.": (TOKEN + b"event: error\n", False),
    "An error whose event has no name.": (b'data: {"type":"error","error":{"type":"api_error"}}\n\n' + DONE, False),
    "An error of a shape of its own.": (b'event: error\ndata: {"message":"boom"}\n\n' + DONE, False),
    "A response that failed of a client with a code in its request.": (
        b'event: response.failed\ndata: {"type":"x","response":{"metadata":{"code":"404"}}}\n\n' + DONE,
        False,
    ),
    "A model that writes of errors.": (b'data: {"choices":[{"text":"data: {\\"error\\""}]}\n\n' + DONE, True),
    "Anthropic's, to its end.": (b'event: message_stop\ndata: {"type":"message_stop"}\n\n', True),
    "Anthropic's, with an error.": (b'event: error\ndata: {"type":"error","error":{"type":"api_error"}}\n\n', False),
    "A response, to its end.": (b'event: response.completed\ndata: {"type":"response.completed"}\n\n', True),
    "A response that was cut at its limit.": (b'event: response.incomplete\ndata: {"type":"x"}\n\n', True),
    "A response that failed.": (b'event: response.failed\ndata: {"type":"x"}\n\n' + DONE, False),
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(("stream", "complete"), STREAMS.values(), ids=STREAMS.keys())
def test_which_streams_have_come_to_a_good_end(stream: bytes, size: int, *, complete: bool) -> None:
    answer, received = StreamedAnswer(None), b""
    for begin in range(0, len(stream), size):
        received += answer.add(stream[begin : begin + size])
    received += answer.rest()
    assert received == stream
    assert answer.complete == complete


def test_usage_that_is_told_in_parts_is_put_together() -> None:
    answer = StreamedAnswer(None)
    answer.add(b'data: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":0}}}\n')
    answer.add(b'data: {"type":"message_delta","usage":{"output_tokens":5}}\n')
    assert answer.usage == Usage(prompt=7, completion=5)


CREATED = (
    b'event: response.created\ndata: {"type":"response.created","response":{"model":"a","tools":[{"name":"bill",'
    b'"parameters":{"usage":{"input_tokens":999999,"output_tokens":999999}}}],"usage":null}}\n\n'
)
COMPLETED = CREATED.replace(b"created", b"completed").replace(
    b'"usage":null', b'"usage":{"input_tokens":3,"output_tokens":5}'
)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_usage_is_the_engine_s_word_and_never_the_client_s(size: int) -> None:
    answer, stream = StreamedAnswer(None), CREATED + COMPLETED
    for begin in range(0, len(stream), size):
        answer.add(stream[begin : begin + size])
    assert answer.usage == Usage(prompt=3, completion=5)


def test_a_stream_of_responses_without_its_end_tells_no_usage() -> None:
    answer = StreamedAnswer(None)
    answer.add(CREATED)
    assert answer.usage == Usage(completion=1)


def test_a_number_that_is_none_of_tokens_is_not_counted() -> None:
    assert usage_in(b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b',"completion_tokens":5}}') == Usage(completion=5)
    assert usage_in(b'{"usage":{"prompt_tokens":' + b"9" * 400 + b"}}") is None


def test_what_a_client_did_wrong_is_no_sign_that_the_engine_dies() -> None:
    answer = StreamedAnswer(None)
    answer.add(b'data: {"error":{"message":"no such regex: EngineDeadError(","code":400}}\n\n' + DONE)
    assert not answer.is_dying
    answer.add(b'data: {"error":{"message":"EngineDeadError","code":500}}\n\n')
    assert answer.is_dying


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (b'{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause."}}', True),
        (b'{"error":{"message":"...","type":"EngineDeadError"}}', True),
        (b'{"error":{"message":"CUDA out of memory","code":500}}', False),
        (b"x" * 5000 + b"EngineDeadError", False),
        (b"", False),
    ],
)
def test_an_engine_that_is_dying_is_known_by_its_words(error: bytes, *, expected: bool) -> None:
    assert is_dying(error) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"The model `{ENGINE}` does not exist.", True),
        (f"The model '{ENGINE}' was not found", True),
        (f'Model "{ENGINE}" not found', True),
        (f"model: {ENGINE}", True),
        (f"Response with id 'resp_{ENGINE}' not found.", False),
        (f"The model `{ENGINE}0` does not exist.", False),
        (f"The model `{ENGINE}-x` does not exist.", False),
        ("Not Found", False),
        ("", False),
    ],
)
def test_that_an_engine_lacks_a_model_is_not_what_the_client_has_written(message: str, expected: bool) -> None:
    assert lacks_model(json.dumps({"error": {"message": message, "code": 404}}).encode(), ENGINE) == expected
