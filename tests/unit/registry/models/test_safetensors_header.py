"""The header parser accepts what the format allows, and refuses everything else with its own error."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.registry.builders import safetensors_bytes

from graft_registry.errors import InvalidModel
from graft_registry.models.safetensors_header import SafetensorsHeader, TensorInfo, read_header

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def file_with(header: Any, data: bytes = bytes(8)) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def parse_header(data: bytes) -> SafetensorsHeader:
    """Return the header of a file with this content."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return read_header(Path(file.name))


def test_names_dtypes_shapes_offsets_and_metadata_are_read() -> None:
    data = safetensors_bytes({"a": ("F32", (2, 3)), "b": ("BF16", ())}, metadata={"format": "pt"})
    header = parse_header(data)
    assert header.tensors == (TensorInfo("a", "F32", (2, 3), (0, 24)), TensorInfo("b", "BF16", (), (24, 26)))
    assert header.metadata == {"format": "pt"}
    assert header.data_start == len(data) - 26


def test_a_file_without_tensors_is_valid() -> None:
    assert parse_header(file_with({}, b"")).tensors == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "at least 8 bytes", id="an empty file"),
        pytest.param(b"\x80\x04K\x01.", "at least 8 bytes", id="a small pickle"),
        pytest.param(b"\x80\x04\x95\x00\x00\x00\x00\x00rest", "cut short or not safetensors", id="a pickle"),
        pytest.param(b"PK\x03\x04" + bytes(60), "cut short or not safetensors", id="a zip archive of torch.save"),
        pytest.param((1 << 63).to_bytes(8, "little"), "cut short", id="a header longer than any file"),
        pytest.param(file_with({"a": TENSOR})[:-1], "cut short or padded", id="a file that was cut short"),
        pytest.param(file_with({"a": TENSOR}, bytes(9)), "cut short or padded", id="bytes after the last tensor"),
        pytest.param(file_with(b"{nonsense"), "not JSON", id="a header that isn't JSON"),
        pytest.param(file_with(b"\xff\xfe{}"), "not JSON", id="a header that isn't UTF-8"),
        pytest.param(file_with(b"[" * 100_000), "not JSON", id="a header nested too deeply"),
        pytest.param(file_with(b'{"a": 1' + b"0" * 5000 + b"}"), "not JSON", id="a number with too many digits"),
        pytest.param(file_with([]), "not a JSON object", id="a header that is a list"),
        pytest.param(file_with(b'{"a": {}, "a": {}}'), "duplicate name 'a'", id="a tensor that is described twice"),
        pytest.param(file_with({"__metadata__": {"a": 1}}), "__metadata__", id="metadata that isn't text"),
        pytest.param(file_with({"a": 1}), "a: not an object", id="a tensor that isn't an object"),
        pytest.param(file_with({"a": {**TENSOR, "dtype": "F99"}}), "unknown dtype 'F99'", id="an unknown dtype"),
        pytest.param(file_with({"a": {**TENSOR, "dtype": []}}), "unknown dtype", id="a dtype that isn't text"),
        pytest.param(file_with({"a": {**TENSOR, "shape": [-2]}}), "shape", id="a negative size"),
        pytest.param(file_with({"a": {**TENSOR, "shape": [True]}}), "shape", id="a size that is a truth value"),
        pytest.param(file_with({"a": {**TENSOR, "shape": [1] * 17}}), "at most 16", id="too many dimensions"),
        pytest.param(file_with({"a": {**TENSOR, "shape": [3]}}), "doesn't take the 8", id="a shape of another size"),
        pytest.param(
            file_with({"a": {**TENSOR, "shape": [1 << 62, 1 << 62]}}), "doesn't take", id="a shape that would overflow"
        ),
        pytest.param(file_with({"a": {**TENSOR, "data_offsets": [8, 0]}}), "data_offsets", id="offsets in reverse"),
        pytest.param(file_with({"a": {**TENSOR, "data_offsets": [0]}}), "data_offsets", id="one offset"),
        pytest.param(
            file_with({"a": {**TENSOR, "data_offsets": [8, 16]}}, bytes(16)), "begins at 8", id="a hole in the data"
        ),
        pytest.param(file_with({"a": TENSOR, "b": TENSOR}), "begins at 0", id="two tensors over the same bytes"),
        pytest.param(
            file_with({"a": {**TENSOR, "data_offsets": [0, 8]}}, b""), "cut short", id="offsets beyond the file"
        ),
    ],
)
def test_a_bad_file_is_refused_and_the_message_says_why(data: bytes, message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        parse_header(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
TENSORISH = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F4", "nonsense"]) | JSON,
        "shape": st.lists(st.integers(-1, 1 << 70), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 1 << 70), max_size=3) | JSON,
    },
)
HEADERS = st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), TENSORISH | JSON, max_size=4) | JSON


@given(st.binary(max_size=200) | st.builds(file_with, HEADERS, st.binary(max_size=40)))
@example(file_with(b'{"a": NaN}'))
@example(file_with(b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}'))
def test_no_input_fails_in_any_other_way_than_with_the_parsers_own_error(data: bytes) -> None:
    try:
        header = parse_header(data)
    except InvalidModel:
        return
    assert sum(end - begin for begin, end in (tensor.offsets for tensor in header.tensors)) == (
        len(data) - header.data_start
    )


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(["F32", "F16", "BF16", "U8", "F64"]), st.lists(st.integers(0, 4), max_size=3).map(tuple)
        ),
        max_size=5,
    )
)
def test_every_valid_file_is_read_as_the_reference_implementation_reads_it(
    tensors: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    data = safetensors_bytes(tensors)
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in parse_header(data).tensors} == tensors
    deserialize: Any = safetensors.deserialize
    reference = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in deserialize(data)}
    assert reference == tensors
