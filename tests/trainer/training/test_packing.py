"""Rows that share a sequence are learned from as if each had one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from tests.trainer.conftest import Pod

from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.training.packing import pack, packed_features

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAD = 0


def row(*tokens: int, answer: int | None = None) -> Row:
    """A row of which the last ``answer`` tokens are trained, all of them by default."""
    masked = 0 if answer is None else len(tokens) - answer
    return Row.labelled(list(tokens), [IGNORED] * masked + list(tokens[masked:]), truncated=False)


def test_a_batch_is_padded_with_a_row_of_its_own() -> None:
    from graft_trainer.training.packed_batches import PackedCollator

    batch = PackedCollator(PAD)([packed_features([row(1, 2, 3, answer=2), row(4, 5)]), packed_features([row(6, 7)])])
    assert {name: values.tolist() for name, values in batch.items()} == {
        "input_ids": [[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD]],
        "labels": [[-100, 2, 3, -100, 5], [-100, 7, -100, -100, -100]],
        "position_ids": [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]],
    }


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=request.param,
        use_cache=False,
        # Large enough for one row to leave its mark on another where it can.
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config)


def summed_loss(model: PreTrainedModel, groups: Sequence[list[Row]]) -> Any:
    from graft_trainer.training.packed_batches import PackedCollator

    batch = PackedCollator(PAD)([packed_features(group) for group in groups])
    return model(**batch, num_items_in_batch=1).loss


def test_loss_and_gradient_of_packed_rows_are_those_of_single_rows(model: PreTrainedModel) -> None:
    import torch

    lengths = (7, 2, 5, 3, 6, 4, 2, 5, 3)
    rows = [row(*range(start, start + length), answer=length // 2) for start, length in enumerate(lengths)]
    groups = pack(rows, max_length=12)
    assert len(groups) < len(rows) / 2
    gradients = []
    for batches in ([groups], [[[row]] for row in rows]):
        model.zero_grad()
        losses = [summed_loss(model, batch) for batch in batches]
        sum(losses).backward()
        gradients.append((sum(losses).item(), [weight.grad.clone() for weight in model.parameters()]))
    (packed_loss, packed), (single_loss, single) = gradients
    assert packed_loss == pytest.approx(single_loss, rel=1e-5)
    torch.testing.assert_close(packed, single, rtol=1e-3, atol=1e-4)


def test_a_model_that_keeps_rows_apart_passes_the_check(model: PreTrainedModel) -> None:
    from graft_trainer.training.packed_batches import check_rows_are_kept_apart

    model.train()
    check_rows_are_kept_apart(model)
    assert model.training


def test_a_model_that_mixes_rows_is_found_out(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from graft_trainer.training.packed_batches import check_rows_are_kept_apart

    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda position_ids, **inputs: forward(**inputs))
    with pytest.raises(InvalidConfigError, match=r"spec\.training\.packing: rows of one sequence"):
        check_rows_are_kept_apart(model)


def test_a_packed_run_learns_the_task(pod: Pod) -> None:
    # One sequence of at most 64 tokens holds about as many rows as a batch of the unpacked run.
    pod.config["training"] |= {"packing": True, "batchSize": 1}
    assert pod.run() == 0
    metrics = pod.version().manifest.metrics
    assert metrics.eval_loss is not None
    assert metrics.base_eval_loss is not None
    assert metrics.exact_match is not None
    assert metrics.eval_loss < metrics.base_eval_loss / 10
    assert metrics.exact_match > 0.5
