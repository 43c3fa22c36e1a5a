"""The memory estimate against every byte that a training step really holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from graft_registry.models.training_memory import ModelShape, TrainingSetup, estimate_cpu, linear_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated:FutureWarning")

HIDDEN, HEADS, INTERMEDIATE, LAYERS, VOCABULARY = 256, 8, 704, 4, 512
ROWS, TOKENS = 2, 128
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = ("all-linear",)


@dataclass(frozen=True, kw_only=True)
class Case:
    bfloat16: bool = True
    target_modules: tuple[str, ...] = ATTENTION
    rank: int = 8
    dropout: bool = True
    checkpointing: bool = False
    within: float = 0.06
    """Relative error: what comes before the first adapter needs no gradient, and keeps nothing."""

    @property
    def setup(self) -> TrainingSetup:
        return TrainingSetup(
            rank=self.rank,
            target_modules=self.target_modules,
            dropout=self.dropout,
            batch_size=ROWS,
            sequence_length=TOKENS,
            value_bytes=2 if self.bfloat16 else 4,
            gradient_checkpointing=self.checkpointing,
        )


CASES = {
    "attention in bfloat16": Case(),
    "attention in bfloat16 without dropout": Case(dropout=False),
    "all linear layers in bfloat16": Case(target_modules=ALL_LINEAR),
    # The first block keeps nothing but what is behind its last layer.
    "one layer of high rank": Case(target_modules=("down_proj",), rank=64, within=0.2),
    "attention in float32": Case(bfloat16=False),
    "all linear layers in float32": Case(bfloat16=False, target_modules=ALL_LINEAR),
    # Where the layers' inputs need no copy in float32, several share one: fewer are held than are counted.
    "attention in float32 without dropout": Case(bfloat16=False, dropout=False, within=0.2),
    # The peak is that of the one live block or of the logits, and counts as both.
    "gradient checkpointing in bfloat16": Case(target_modules=ALL_LINEAR, checkpointing=True, within=0.15),
    "gradient checkpointing in float32": Case(bfloat16=False, checkpointing=True, within=0.15),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_estimate_is_what_autograd_keeps(case: Case) -> None:
    model, shape = llama(case)
    found = estimate_cpu(shape, case.setup)
    gradients = found.adapter // 4  # of fp32 weights, gradients and two moments, a step allocates the gradients
    assert step_bytes(model) == pytest.approx(found.activations + found.logits + gradients, rel=case.within)


def test_without_checkpointing_more_is_kept() -> None:
    kept, computed_again = (llama(Case(checkpointing=checkpointing))[0] for checkpointing in (False, True))
    assert step_bytes(computed_again) < 0.7 * step_bytes(kept)


@pytest.mark.parametrize("case", [Case(dropout=False), Case(target_modules=ALL_LINEAR, dropout=False, within=0.15)])
def test_the_estimate_is_what_a_step_of_pairs_keeps(case: Case) -> None:
    model, shape = llama(case)
    found = estimate_cpu(shape, replace(case.setup, batch_size=ROWS // 2, answers_per_row=2))
    gradients = found.adapter // 4
    assert pair_step_bytes(model) == pytest.approx(found.activations + found.logits + gradients, rel=case.within)


def llama(case: Case) -> tuple[PreTrainedModel, ModelShape]:
    """A small Llama with an adapter, and its shape."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        use_cache=False,
    )
    base = LlamaForCausalLM(config).to(torch.bfloat16 if case.bfloat16 else torch.float32)
    modules = {
        path: (module.out_features, module.in_features)
        for path, module in base.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    shape = ModelShape(
        parameters=base.num_parameters(),
        hidden_size=HIDDEN,
        attention_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        layers=LAYERS,
        vocab_size=VOCABULARY,
        linear=linear_layers(modules),
    )
    if case.checkpointing:
        base.enable_input_require_grads()
        base.gradient_checkpointing_enable()
    targets = "all-linear" if case.target_modules == ALL_LINEAR else list(case.target_modules)
    dropout = 0.05 if case.dropout else 0.0
    adapter = LoraConfig(task_type="CAUSAL_LM", r=case.rank, lora_dropout=dropout, target_modules=targets)
    return get_peft_model(base, adapter).train(), shape


def step_bytes(model: Any) -> int:
    """Bytes at the peak of one forward and backward pass over rows that need padding."""
    import torch
    from tests.trainer.training.allocations import Allocations

    ids = torch.zeros(ROWS, TOKENS, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0
    with Allocations(model.parameters()) as allocations:
        # Like the Trainer, hold nothing of the output but its loss.
        model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    return int(allocations.peak)


def pair_step_bytes(model: Any) -> int:
    """Bytes at the peak of one step of DPO over as many answers."""
    import torch
    from tests.trainer.training.allocations import Allocations

    from graft_trainer.preferences.likelihoods import log_likelihoods
    from graft_trainer.preferences.losses import dpo_losses
    from graft_trainer.preferences.reference import InitialModel

    ids = torch.zeros(ROWS // 2, 2, TOKENS, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, 0, -3:] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "labels": ids}
    with Allocations(model.parameters()) as allocations:
        with InitialModel(model).applied() as reference:
            before = log_likelihoods(reference, batch)
        ratios = log_likelihoods(model, batch) - before
        loss: Any = dpo_losses(ratios[:, 0], ratios[:, 1], beta=0.1).mean()
        loss.backward()
    return int(allocations.peak)
