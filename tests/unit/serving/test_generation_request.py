"""Finding and replacing the model in a body, without touching anything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.generation_request import InvalidBodyError, parse_generation_request

BODIES: dict[str, tuple[str, str]] = {
    "The model comes first.": ('{"model":"a","x":1}', '{"model":"b","x":1}'),
    "The model comes last, among spaces.": ('{ "x" : [1, 2] , "model" : "a" }\n', '{ "x" : [1, 2] , "model" : "b" }\n'),
    "A prompt speaks of a model.": (
        '{"prompt":"\\"model\\":\\"a\\"","model":"a"}',
        '{"prompt":"\\"model\\":\\"a\\"","model":"b"}',
    ),
    "Another object has a model of its own.": (
        '{"extra":{"model":"a"},"model":"a"}',
        '{"extra":{"model":"a"},"model":"b"}',
    ),
    "The name is written with an escape.": ('{"mod\\u0065l":"a"}', '{"mod\\u0065l":"b"}'),
    "Numbers keep their digits.": ('{"t":1.10e-2,"model":"a"}', '{"t":1.10e-2,"model":"b"}'),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_only_the_value_of_model_changes(body: str, expected: str) -> None:
    asked = parse_generation_request(body.encode())
    assert asked.model == "a"
    assert asked.body_for("b").decode() == expected


BAD: dict[str, tuple[bytes, str]] = {
    "Not JSON.": (b"{", "invalid_json"),
    "Not UTF-8.": (b'{"model":"\xff"}', "invalid_json"),
    "Empty.": (b"", "invalid_json"),
    "Not an object.": (b"[]", "invalid_json"),
    "Nested too deeply.": (b'{"a":' + b"[" * 100_000, "invalid_json"),
    "Two models: one parser would take the first, another one the last.": (
        b'{"model":"a","model":"b"}',
        "invalid_json",
    ),
    "Two models, one in disguise.": (b'{"model":"a","mod\\u0065l":"b"}', "invalid_json"),
    "A comma too many.": (b'{"model":"a",}', "invalid_json"),
    "Something follows.": (b'{"model":"a"}{}', "invalid_json"),
    "A name that is a number.": (b'{1:2,"model":"a"}', "invalid_json"),
    "No colon.": (b'{"model" "a"}', "invalid_json"),
    "No comma.": (b'{"model":"a" "x":1}', "invalid_json"),
    "No model.": (b"{}", "model_missing"),
    "A model that is a number.": (b'{"model":7}', "model_missing"),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidBodyError) as refused:
        parse_generation_request(body)
    assert refused.value.code == code


@pytest.mark.parametrize(("user", "expected"), [('"u-1"', "u-1"), ("7", None), ("null", None)])
def test_the_user_is_read_if_it_is_text(user: str, expected: str | None) -> None:
    assert parse_generation_request(f'{{"model":"a","user":{user}}}'.encode()).user == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5), st.text(max_size=5), st.sampled_from([None, 2]))
def test_every_object_is_read_as_the_standard_parser_reads_it(
    others: dict[str, Any], model: str, indent: int | None
) -> None:
    document = {**others, "model": model}
    asked = parse_generation_request(json.dumps(document, indent=indent, ensure_ascii=False).encode())
    assert asked.model == model
    assert json.loads(asked.body_for("other")) == {**document, "model": "other"}
