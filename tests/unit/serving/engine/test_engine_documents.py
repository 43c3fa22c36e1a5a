"""What engines answer, and what they should not."""

import pytest

from graft_serving.engine.documents import (
    UnreadableAnswerError,
    error_message,
    first_choice,
    listed_models,
    whole_number,
)

BASE = b'{"id":"tiny","root":"/base","parent":null,"max_model_len":64}'
ADAPTER = b'{"id":"support--v1-0123abcd","root":"/adapters/1","parent":"tiny","permission":[]}'


@pytest.mark.parametrize(
    "odd",
    [
        b"null",
        b'"support"',
        b"5",
        b"[]",
        b"{}",
        b'{"id":null}',
        b'{"id":7,"parent":"tiny","root":"/x"}',
        b'{"id":"x","parent":"tiny","root":null}',
        b'{"id":"x","parent":"tiny","root":7}',
        b'{"id":"x","parent":"tiny"}',
        b'{"id":"x\xff","parent":"tiny","root":"/x"}',
    ],
)
def test_an_odd_card_costs_no_other_adapter_its_engine(odd: bytes) -> None:
    base, adapters = listed_models(b'{"object":"list","data":[' + b",".join((odd, BASE, ADAPTER)) + b"]}")
    assert (base.id, base.max_model_len) == ("tiny", 64)
    assert adapters == {"support--v1-0123abcd": "/adapters/1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>502</html>",
        b"null",
        b"[]",
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":{"tiny":1}}',
        b'{"data":["tiny"]}',
        b'{"data":[' + ADAPTER + b"]}",
        b"[" * 100_000,
        b'{"data":[' * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_list_of_models_is_one_error(answer: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        listed_models(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":[null]}',
        b'{"choices":[{"text":null}]}',
        b'{"choices":[{"index":0}]}',
        b'{"choices":[{"text":"a","token_ids":[1,null]}]}',
        b'{"object":"error","message":"out of memory"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_completion_is_one_error(answer: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        first_choice(answer)


def test_the_words_of_an_error_are_found_in_openai_s_shape() -> None:
    assert error_message(b'{"error":{"message":"out of memory","code":500}}') == "out of memory"
    assert error_message(b'{"detail":"Not Found"}') == '{"detail":"Not Found"}'
    assert error_message(b"[" * 100_000) == "[" * 500
    assert error_message(b"caf\xe9") == "caf�"


@pytest.mark.parametrize(
    ("value", "number"), [(64, 64), (True, None), (0, None), (-1, None), ("64", None), (6.4, None)]
)
def test_a_length_is_a_number_of_tokens(value: object, number: int | None) -> None:
    assert whole_number(value) == number
