"""What was trained of a base's own parameters, and what is only a copy of them in another number format."""

from __future__ import annotations

import pytest
import torch

from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.importing import copies
from graft_trainer.importing.attaching import check_what_was_loaded
from graft_trainer.importing.copies import is_alike, is_copy
from graft_trainer.outcome import BaseMismatchError

FORMATS = (torch.float32, torch.bfloat16, torch.float16)


def embedding(rows: int = 500) -> torch.Tensor:
    numbers = torch.randn(rows, 64, generator=torch.Generator().manual_seed(5)) * 0.02
    # Some that float16 has fewer bits for, and some that it has none for.
    numbers[0] *= 1e-4
    numbers[1] *= 1e-7
    return numbers


@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("loaded", FORMATS)
@pytest.mark.parametrize("own", FORMATS[:2])
def test_a_copy_in_any_format_is_one(own: torch.dtype, loaded: torch.dtype, stored: torch.dtype) -> None:
    base = embedding().to(own)
    copy = base.to(loaded).to(stored)
    assert is_copy(copy, base)
    assert is_alike(copy, base)


@pytest.mark.parametrize("copy", FORMATS)
@pytest.mark.parametrize("own", FORMATS[:2])
def test_copies_of_what_the_base_was_rounded_from_are_of_this_base(own: torch.dtype, copy: torch.dtype) -> None:
    numbers = embedding()
    assert is_alike(numbers.to(copy), numbers.to(own))


def one_row(numbers: torch.Tensor) -> None:
    numbers[20] *= 1.18


def one_number(numbers: torch.Tensor) -> None:
    numbers[20, 3] += 0.01


def new_tokens(numbers: torch.Tensor) -> None:
    numbers[-1] = numbers[-2]


def a_little_of_all(numbers: torch.Tensor) -> None:
    numbers *= 1.015


def no_number(numbers: torch.Tensor) -> None:
    numbers[7, 7] = torch.nan


@pytest.mark.parametrize("change", [one_row, one_number, new_tokens, a_little_of_all, no_number])
@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("own", FORMATS[:2])
def test_what_was_trained_is_no_copy(own: torch.dtype, stored: torch.dtype, change: object) -> None:
    base = embedding().to(own)
    trained = base.float().clone()
    assert callable(change)
    change(trained)
    assert not is_copy(trained.to(stored), base)
    assert not is_alike(trained.to(stored), base)


def test_a_norm_that_training_has_hardly_moved_is_kept() -> None:
    base = torch.ones(64)
    assert not is_copy(base + 1e-4, base)
    assert not is_copy((base + 0.01).to(torch.bfloat16), base)


def test_rounding_is_the_same_for_all_parts_of_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "ELEMENTS_AT_ONCE", 64)
    base = embedding()
    mixed = base.clone()
    mixed[2:50] = base[2:50].to(torch.bfloat16).float()
    mixed[50:] = base[50:].to(torch.float16).float()
    assert not is_copy(mixed, base)
    assert is_copy(base.to(torch.bfloat16), base)


def test_what_is_not_in_memory_counts_as_trained() -> None:
    assert not is_copy(torch.ones(2), torch.ones(2, device="meta"))


A, B = (f"base_model.model.model.layers.0.q_proj.lora_{one}.weight" for one in "AB")
EXTRA = "base_model.model.model.layers.0.q_proj.lora_magnitude_vector"
STATE = {A: torch.ones(4, 8), B: torch.ones(8, 4), "base_model.model.model.norm.weight": torch.ones(8)}


def test_what_peft_has_no_place_for_and_what_it_makes_up_are_refused() -> None:
    written = [TensorInfo(name, "F32", tuple(tensor.shape), (0, 0)) for name, tensor in STATE.items()]
    check_what_was_loaded(STATE, written, "tiny")
    check_what_was_loaded(STATE, written[:2], "tiny")
    with pytest.raises(BaseMismatchError, match=rf"PEFT has no place in base tiny for {B};"):
        check_what_was_loaded({A: STATE[A]}, written[:2], "tiny")
    with pytest.raises(BaseMismatchError, match=rf"PEFT has no place in base tiny for {A};"):
        check_what_was_loaded(STATE | {A: torch.ones(4, 9)}, written, "tiny")
    with pytest.raises(BaseMismatchError, match=rf"PEFT adapts {EXTRA} of base tiny, too"):
        check_what_was_loaded(STATE | {EXTRA: torch.ones(8)}, written, "tiny")
