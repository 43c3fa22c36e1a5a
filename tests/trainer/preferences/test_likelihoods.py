"""Likelihoods are computed of answers alone, and are those that a model's own logits have, whatever it does to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.trainer import families

from graft_trainer.data.rows import IGNORED
from graft_trainer.preferences.likelihoods import log_likelihoods

PROMPTS, ANSWERS = (3, 7, 5), ((4, 2), (1, 6), (3, 3))
"""Tokens of three prompts, and of two answers to each."""
CHANGES: dict[str, dict[str, Any]] = {
    "gemma2": {"final_logit_softcapping": 1.5},
    "cohere2": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 3.0},
    "falcon_h1": {"lm_head_multiplier": 0.5},
    "llama": {"tie_word_embeddings": True},
    "phi": {},
    "mixtral": {"output_router_logits": True},
    "gpt2": {},
    "opt": {},
    "bloom": {},
    "mpt": {},
    "gemma3": {},
    "qwen2_5_vl": {},
    "granitemoehybrid": {"logits_scaling": 2.0},
}
"""Model types that scale, cap or shift their logits, or keep their output layer in a place of its own."""


def batch_of_pairs() -> dict[str, torch.Tensor]:
    """Three prompts with two answers each, padded at the right."""
    generator = torch.Generator().manual_seed(3)
    longest = max(prompt + max(answers) for prompt, answers in zip(PROMPTS, ANSWERS, strict=True))
    ids = torch.randint(3, 90, (3, 2, longest), generator=generator)
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for row, (prompt, answers) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        ids[row, 1, :prompt] = ids[row, 0, :prompt]
        for place, answer in enumerate(answers):
            labels[row, place, prompt : prompt + answer] = ids[row, place, prompt : prompt + answer]
            mask[row, place, : prompt + answer] = 1
    return {"input_ids": ids.masked_fill(mask == 0, 2), "attention_mask": mask, "labels": labels}


def of_all_logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same by the definition: logits of every token, then a sum over those of answers."""
    tokens = batch["input_ids"].shape[-1]
    logits = model(
        input_ids=batch["input_ids"].flatten(0, 1), attention_mask=batch["attention_mask"].flatten(0, 1)
    ).logits
    targets = batch["labels"].flatten(0, 1)[:, 1:]
    found = torch.log_softmax(logits[:, -tokens:-1].float(), -1)
    chosen = found.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (chosen * (targets != IGNORED)).sum(-1).view(3, 2)


@pytest.mark.parametrize("model_type", CHANGES)
@pytest.mark.filterwarnings("ignore")
def test_they_are_those_of_the_models_own_logits(model_type: str) -> None:
    model = families.build(model_type, **CHANGES[model_type]).eval()
    batch = batch_of_pairs()
    expected = of_all_logits(model, batch)
    assert expected.std() > 1e-3
    assert torch.allclose(log_likelihoods(model, batch), expected, atol=1e-4)
    assert torch.allclose(of_all_logits(model, batch), expected), "nothing is left behind in the model"


@pytest.mark.filterwarnings("ignore")
def test_trained_prompts_stand_before_the_tokens_that_are_counted() -> None:
    from peft import PromptTuningConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(families.build("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))
    batch = batch_of_pairs()
    expected = of_all_logits(model, batch)
    found: Any = log_likelihoods(model, batch)
    assert torch.allclose(found, expected, atol=1e-4)
    found.sum().backward()
    assert all(weights.grad is not None for weights in model.parameters() if weights.requires_grad)


def test_the_output_layer_sees_no_token_of_a_prompt() -> None:
    model = families.build("llama")
    seen: list[torch.Size] = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, output: seen.append(output.shape))
    log_likelihoods(model, batch_of_pairs())
    assert seen == [(1, sum(sum(answers) for answers in ANSWERS), families.SIZES["vocab_size"])]


def test_a_batch_without_any_answer_has_likelihoods_of_nothing() -> None:
    model = families.build("llama")
    batch = batch_of_pairs()
    nothing = {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}
    found: Any = log_likelihoods(model, nothing)
    found.sum().backward()
    assert found.tolist() == [[0.0, 0.0]] * 3
