"""Shifted sparse attention, against a computation of it that goes token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from graft_trainer.outcome import InvalidConfigError

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated:FutureWarning")

FEATURES = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    length: int = 32
    group_size: int = 8
    heads: int = 4
    key_heads: int = 4
    padding: Literal["", "Left", "Right"] = ""
    window: int = 99
    """How far back a token sees."""

    def real(self, row: int) -> range:
        """The tokens of a row that are no padding: each row has three fewer than the one before."""
        missing = 3 * row if self.padding else 0
        return range(missing, self.length) if self.padding == "Left" else range(self.length - missing)


CASES = {
    "four whole groups": Case(),
    "query heads share keys": Case(key_heads=2),
    "all query heads share one key": Case(key_heads=1),
    "an odd number of heads": Case(heads=3, key_heads=1),
    "a last group that is not full": Case(length=29),
    "half a group more than one": Case(length=12),
    "one token more than a group": Case(length=9),
    "rows that are exactly a group": Case(length=8),
    "rows shorter than half a group": Case(length=3),
    "padding at the end": Case(padding="Right", key_heads=2),
    "padding at the beginning": Case(padding="Left", key_heads=2, length=30),
    "padding at the beginning of a single group": Case(padding="Left", length=8),
    "a window shorter than a group": Case(window=3, length=29),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_what_goes_token_by_token(case: Case) -> None:
    """In what it returns and in its gradients, wherever a token is no padding."""
    import torch

    torch.manual_seed(0)
    shapes = [(2, heads, case.length, FEATURES) for heads in (case.heads, case.key_heads, case.key_heads)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found, expected = grouped(case, *tensors), token_by_token(case, *tensors)
    real = torch.stack([torch.tensor([token in case.real(row) for token in range(case.length)]) for row in range(2)])
    torch.testing.assert_close(found[real], expected[real])
    weights = torch.randn_like(found[real])
    gradients = (torch.autograd.grad((output[real] * weights).sum(), tensors) for output in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0.01
        torch.testing.assert_close(ours, theirs)


def test_a_row_that_fits_into_a_group_is_attended_to_as_ever() -> None:
    import torch

    query, key, value = torch.randn(3, 2, 4, 16, FEATURES)
    ordinary = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(grouped(Case(length=16, group_size=16), query, key, value), ordinary)
    shifted = grouped(Case(length=16, group_size=8), query, key, value)
    assert (shifted - ordinary).abs().max() > 0.1


def grouped(case: Case, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What the trainer computes."""
    import torch
    from transformers.masking_utils import sliding_window_causal_mask_function

    from graft_trainer.methods.shifted_attention import attend, masks

    padding = torch.tensor([[token in case.real(row) for token in range(case.length)] for row in range(2)])
    made = masks(
        batch_size=2,
        q_length=case.length,
        mask_function=sliding_window_causal_mask_function(case.window),
        attention_mask=padding if case.padding else None,
        allow_is_causal_skip=True,
        local_size=case.window,
        device=query.device,
        group_size=case.group_size,
    )
    assert (made is None) == (case.padding != "Left" and case.window >= case.group_size)
    layer: Any = SimpleNamespace(num_key_value_groups=case.heads // case.key_heads)
    return attend(layer, query, key, value, made, group_size=case.group_size)[0]


def token_by_token(case: Case, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same, [rows, tokens, heads, features], as one would explain it."""
    import torch

    output = torch.zeros(2, case.length, case.heads, FEATURES, dtype=query.dtype)
    for row in range(2):
        for head in range(case.heads):
            shared = head // (case.heads // case.key_heads)
            for token in case.real(row):
                begin = max(begin_of_group(case, token, shifted=head >= case.heads // 2), token - case.window + 1)
                seen = [other for other in range(begin, token + 1) if other in case.real(row)]
                scores = key[row, shared, seen] @ query[row, head, token] / math.sqrt(FEATURES)
                output[row, token, head] = scores.softmax(0) @ value[row, shared, seen]
    return output


def begin_of_group(case: Case, token: int, *, shifted: bool) -> int:
    """Return the first token of the group that a token is in."""
    if case.length <= case.group_size:
        return 0
    half = case.group_size // 2
    if not shifted:
        return token - token % case.group_size
    return 0 if token < half else token - (token - half) % case.group_size


def llama(*, checkpointing: bool = False) -> Any:
    """A small random Llama in training."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
    )
    model = LlamaForCausalLM(config).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    return model


def logits(model: Any, **inputs: Any) -> torch.Tensor:
    import torch

    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


def test_a_model_has_its_own_attention_back_afterwards() -> None:
    import torch

    from graft_trainer.methods.shifted_attention import shifted_attention

    model, ids = llama(), torch.arange(32)[None]
    ordinary = logits(model, input_ids=ids)
    with shifted_attention(model, group_size=8):
        assert not torch.allclose(logits(model, input_ids=ids), ordinary, atol=1e-3)
    with shifted_attention(model, group_size=32):
        torch.testing.assert_close(logits(model, input_ids=ids), ordinary)
    torch.testing.assert_close(logits(model, input_ids=ids), ordinary, rtol=0, atol=0)


def test_no_token_sees_what_comes_after_it() -> None:
    import torch

    from graft_trainer.methods.shifted_attention import shifted_attention

    model, ids = llama(), torch.arange(32)[None]
    with shifted_attention(model, group_size=8):
        before = logits(model, input_ids=ids)
        after = logits(model, input_ids=torch.cat([ids[:, :-1], ids[:, :1]], dim=1))
    torch.testing.assert_close(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


def test_packed_rows_do_not_see_one_another() -> None:
    import torch

    from graft_trainer.methods.shifted_attention import shifted_attention

    model, ids = llama(), torch.arange(30)[None]
    positions = torch.cat([torch.arange(13), torch.arange(17)])[None]
    changed = torch.where(torch.arange(30) < 13, ids + 7, ids)
    with shifted_attention(model, group_size=8):
        first, second = (logits(model, input_ids=given, position_ids=positions)[:, 13:] for given in (ids, changed))
        unpacked = logits(model, input_ids=changed)[:, 13:]
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, unpacked, atol=1e-3)


def test_computing_activations_again_gives_the_same_gradients() -> None:
    import torch

    from graft_trainer.methods.shifted_attention import shifted_attention

    ids = torch.arange(32)[None]
    found = []
    for checkpointing in (False, True):
        model = llama(checkpointing=checkpointing)
        with shifted_attention(model, group_size=8):
            model(input_ids=ids, labels=ids).loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for kept, computed_again in zip(*found, strict=True):
        assert kept.abs().max() > 0
        torch.testing.assert_close(kept, computed_again)


def test_an_attention_of_another_kind_is_refused() -> None:
    from graft_trainer.methods.shifted_attention import shifted_attention

    model = llama()
    model.set_attn_implementation("eager")
    with pytest.raises(InvalidConfigError, match="LlamaForCausalLM") as error, shifted_attention(model, group_size=8):
        pass
    assert error.value.field == "spec.method"
