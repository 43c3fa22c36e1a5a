"""The relative change of weights, measured on files whose change is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.registry.builders import safetensors_file

from graft_registry.errors import InvalidModel
from graft_registry.models import weight_change
from graft_registry.models.weight_change import StoredTensor, relative_change, stored_tensors

Array = NDArray[np.float32]
FORMATS: dict[str, type[np.generic]] = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
GENERATOR = np.random.default_rng(0)
WEIGHTS: Array = GENERATOR.standard_normal((40, 50), dtype=np.float32)


def stored(path: Path, values: Array, dtype: str = "F32") -> StoredTensor:
    """Write one tensor behind another of odd length, so that it begins at no round address."""
    if dtype == "BF16":
        data = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    else:
        data = values.astype(FORMATS[dtype]).tobytes()
    path.write_bytes(safetensors_file({"first": ("U8", (3,), b"abc"), "weight": (dtype, values.shape, data)}))
    return stored_tensors([path])["weight"]


@pytest.mark.parametrize("chunk", [7, 1 << 20], ids=["in small pieces", "in one piece"])
@pytest.mark.parametrize("dtype", [*FORMATS, "BF16"])
def test_a_change_of_a_tenth_is_measured_in_every_number_format(
    dtype: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_change, "_CHUNK", chunk)
    old = stored(tmp_path / "old.safetensors", WEIGHTS, dtype)
    new = stored(tmp_path / "new.safetensors", WEIGHTS * np.float32(1.1), dtype)
    assert relative_change(old, new) == pytest.approx(0.1, rel=0.01)


def test_the_same_weights_in_another_format_have_hardly_moved(tmp_path: Path) -> None:
    old = stored(tmp_path / "old.safetensors", WEIGHTS, "F32")
    new = stored(tmp_path / "new.safetensors", WEIGHTS, "BF16")
    assert 0.0 < relative_change(old, new) < 0.01


def test_independent_weights_are_the_square_root_of_two_apart(tmp_path: Path) -> None:
    other = GENERATOR.standard_normal(WEIGHTS.shape, dtype=np.float32)
    old, new = stored(tmp_path / "old.safetensors", WEIGHTS), stored(tmp_path / "new.safetensors", other)
    assert relative_change(old, new) == pytest.approx(2**0.5, rel=0.05)


ZEROS: Array = np.zeros((4, 4), dtype=np.float32)
ONES: Array = np.ones((4, 4), dtype=np.float32)
EDGES: dict[str, tuple[Array, Array, float]] = {
    "nothing has moved": (ONES, ONES, 0.0),
    "zeros that stay zeros have not moved": (ZEROS, ZEROS, 0.0),
    "zeros that became something count as all new": (ZEROS, ONES, 2**0.5),
    "a tensor without elements has not moved": (ZEROS[:0], ZEROS[:0], 0.0),
}


@pytest.mark.parametrize(("before", "after", "expected"), EDGES.values(), ids=EDGES)
def test_the_edges(before: Array, after: Array, expected: float, tmp_path: Path) -> None:
    old, new = stored(tmp_path / "old.safetensors", before), stored(tmp_path / "new.safetensors", after)
    assert relative_change(old, new) == expected


REFUSED: dict[str, tuple[Array, str, str]] = {
    "another shape": (np.ones((4, 5), dtype=np.float32), "F32", "weight is [4, 5], was [4, 4]"),
    "a weight that is no number": (ONES * np.float32("nan"), "F32", "not finite numbers"),
    "a packed format": (ONES, "U8", "stored as U8, which can't be compared"),
}


@pytest.mark.parametrize(("after", "dtype", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused(
    after: Array, dtype: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "U8", np.uint8)
    old, new = stored(tmp_path / "old.safetensors", ONES), stored(tmp_path / "new.safetensors", after, dtype)
    with pytest.raises(InvalidModel) as caught:
        relative_change(old, new)
    assert message in str(caught.value)
