"""Finding and replacing the model in a body, without touching anything else."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.body import MOST_MEMBERS, InvalidBodyError, parse_body

BODIES: dict[str, tuple[str, str]] = {
    "The model comes first.": ('{"model":"a","x":1}', '{"model":"b","x":1}'),
    "The model comes last, among spaces.": ('{ "x" : [1, 2] , "model" : "a" }\n', '{"x":[1, 2],"model":"b"}'),
    "A prompt speaks of a model.": (
        '{"prompt":"\\"model\\":\\"a\\"","model":"a"}',
        '{"prompt":"\\"model\\":\\"a\\"","model":"b"}',
    ),
    "Another object has a model of its own.": (
        '{"extra":{"model":"a"},"model":"a"}',
        '{"extra":{"model":"a"},"model":"b"}',
    ),
    "The name is written with an escape.": ('{"mod\\u0065l":"a"}', '{"model":"b"}'),
    "A mark says that it is UTF-8.": ('\ufeff{"model":"a"}', '{"model":"b"}'),
    "Numbers keep their digits.": ('{"t":1.10e-2,"model":"a"}', '{"t":1.10e-2,"model":"b"}'),
    "A number that no float can hold keeps its digits, too.": (
        '{"seed":123456789012345678901234567890,"model":"a"}',
        '{"seed":123456789012345678901234567890,"model":"b"}',
    ),
    "Of two models the engine gets the one that the agent has read.": (
        '{"model":"c","mod\\u0065l":"a"}',
        '{"model":"b"}',
    ),
    "Of two members of another name it gets one as well.": ('{"n":1,"model":"a","n":2}', '{"n":2,"model":"b"}'),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_only_the_value_of_model_changes(body: str, expected: str) -> None:
    asked = parse_body(body.encode())
    assert asked.model == "a"
    assert asked.naming("b").decode() == expected


BAD: dict[str, tuple[bytes, str]] = {
    "Not JSON.": (b"{", "invalid_json"),
    "Not UTF-8.": (b'{"model":"\xff"}', "invalid_json"),
    "Not UTF-8 where nobody looks.": (b'{"model":"a","x":"\xff"}', "invalid_json"),
    "Empty.": (b"", "invalid_json"),
    "Not an object.": (b"[]", "invalid_json"),
    "Nested too deeply.": (b'{"a":' + b"[" * 100_000, "invalid_json"),
    "A comma too many.": (b'{"model":"a",}', "invalid_json"),
    "Something follows.": (b'{"model":"a"}{}', "invalid_json"),
    "A name that is a number.": (b'{1:2,"model":"a"}', "invalid_json"),
    "No colon.": (b'{"model" "a"}', "invalid_json"),
    "No comma.": (b'{"model":"a" "x":1}', "invalid_json"),
    "Not a number.": (b'{"model":"a","x":NaN}', "invalid_json"),
    "A model that no name can be.": (b'{"model":"' + b"a" * 600 + b'"}', "model_not_found"),
    "Too many members.": (
        b'{"model":"a"' + b"".join(b',"%d":1' % n for n in range(MOST_MEMBERS)) + b"}",
        "invalid_json",
    ),
    "Too many of one name.": (b'{"model":"a"' + b',"n":1' * MOST_MEMBERS + b"}", "invalid_json"),
    "No model.": (b"{}", "model_missing"),
    "A model that is a number.": (b'{"model":7}', "model_missing"),
    "Half a character.": (b'{"model":"\\ud800"}', "invalid_json"),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidBodyError) as refused:
        parse_body(body)
    assert refused.value.code == code


MIB = 1 << 20
HEAVY: dict[str, bytes] = {
    "lists": b"[" + b"[]," * (4 * MIB // 3) + b"0]",
    "objects": b"[" + b"{}," * (4 * MIB // 3) + b"0]",
    "text": b'"' + b"x" * 4 * MIB + b'"',
    "numbers": b"[" + b"12345," * (4 * MIB // 6) + b"0]",
    "a character of four bytes among text": b'"' + "\U0001f600".encode() + b"x" * 4 * MIB + b'"',
}


@pytest.mark.parametrize("value", HEAVY.values(), ids=HEAVY.keys())
def test_a_body_costs_a_few_times_its_own_size(value: bytes) -> None:
    body = b'{"model":"a","x":' + value + b"}"
    tracemalloc.start()
    try:
        asked = parse_body(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert asked.model == "a"
    assert most < 6 * len(body)


@pytest.mark.parametrize(("user", "expected"), [('"u-1"', "u-1"), ("7", None), ("null", None)])
def test_the_user_is_read_if_it_is_text(user: str, expected: str | None) -> None:
    assert parse_body(f'{{"model":"a","user":{user}}}'.encode()).user == expected


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
    asked = parse_body(json.dumps(document, indent=indent, ensure_ascii=False).encode())
    assert asked.model == model
    assert json.loads(asked.naming("other")) == {**document, "model": "other"}


def test_a_long_user_is_known_by_a_digest_and_reaches_the_engine_as_it_came() -> None:
    asked, other = (parse_body(json.dumps({"model": "a", "user": user * 1_000_000}).encode()) for user in ("xé", "yé"))
    assert asked.user is not None
    assert len(asked.user) == 64
    assert asked.user != other.user
    assert json.loads(asked.naming("b"))["user"] == "xé" * 1_000_000
    assert parse_body(json.dumps({"model": "a", "user": "x" * 1000}).encode()).user == "x" * 1000
