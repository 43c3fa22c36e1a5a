"""Renaming models in answers, on the bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.answers import ModelName, usage_in
from graft_serving.telemetry.answered import Usage

ENGINE = "support--v7-0123abcd"


def test_the_name_is_replaced_with_and_without_spaces() -> None:
    name = ModelName(ENGINE, "support")
    assert name.in_whole(f'{{"model":"{ENGINE}"}}'.encode()) == b'{"model":"support"}'
    assert name.in_whole(f'{{"model": "{ENGINE}"}}'.encode()) == b'{"model": "support"}'


def test_what_the_model_wrote_is_left_alone() -> None:
    text = f'say "model":"{ENGINE}" and {ENGINE}'
    body = json.dumps({"text": text, "model": ENGINE}, separators=(",", ":")).encode()
    assert json.loads(ModelName(ENGINE, "support").in_whole(body)) == {"text": text, "model": "support"}


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_stream_is_renamed_however_it_is_cut(sizes: list[int]) -> None:
    event = f'data: {{"model":"{ENGINE}","n":1}}\n\n'.encode()
    stream, name, received = event * 4, ModelName(ENGINE, "support"), b""
    for size in [*sizes, len(stream)]:
        received += name.in_stream(stream[:size])
        stream = stream[size:]
    received += name.rest_of_stream()
    assert received == event.replace(ENGINE.encode(), b"support") * 4


def test_a_line_is_not_held_back() -> None:
    assert ModelName(ENGINE, "support").in_stream(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"


def test_usage_is_read_where_the_engine_tells_it() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":3,"total_tokens":8,"completion_tokens":5}}'
    assert usage_in(body) == Usage(prompt=3, completion=5)
    assert usage_in(b'{"usage":{"prompt_tokens":3,"total_tokens":3}}') == Usage(prompt=3)
    assert usage_in(b'{"usage":null}') is None
    assert usage_in(b"data: {}") is None
