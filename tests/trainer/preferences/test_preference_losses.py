"""The losses beside those of TRL's trainers, on the same model, reference and tokens, and beside formulas by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from graft_trainer.config import Objective, PreferenceHyperparameters, TrainingHyperparameters

# TRL's, of what our few tokens and labels look like to it.
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = ([5, 6, 7], [8, 9], [10, 11, 12, 13])
CHOSEN = ([14, 15, 1], [16, 1], [17, 18, 19, 1])
REJECTED = ([20, 1], [21, 22, 23, 1], [24, 25, 1])
WANTED = (True, False, True)
PREFERENCE = PreferenceHyperparameters.model_validate(
    {"beta": "0.3", "desirableWeight": "1.5", "undesirableWeight": "0.75"}
)


def tiny_model() -> Any:
    """A Llama without an adapter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def move_adapter(model: Any, seed: int) -> None:
    """Make an adapter that does something."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".default." in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))


def trl_trainer(objective: str, folder: Path, **model: Any) -> Any:
    """TRL's trainer of the objective; it computes in float32, without dropout, as ours does."""
    from datasets import Dataset
    from tests.trainer.toy_base import word_tokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    common: dict[str, Any] = {
        "output_dir": str(folder),
        "beta": PREFERENCE.beta,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 3,
    }
    rows: list[dict[str, Any]]
    if objective == "DPO":
        rows = [{"prompt": "the", "chosen": "oak", "rejected": "elm"}] * 3
        trainer, config = DPOTrainer, DPOConfig(**common)
    else:
        rows = [{"prompt": "the", "completion": "oak", "label": label} for label in WANTED]
        trainer = KTOTrainer
        config = KTOConfig(
            **common,
            desirable_weight=PREFERENCE.desirable_weight,
            undesirable_weight=PREFERENCE.undesirable_weight,
        )
    return trainer(args=config, train_dataset=Dataset.from_list(rows), processing_class=word_tokenizer(), **model)


def trl_loss(trainer: Any, objective: str) -> float:
    """TRL's loss of our tokens."""
    rows: list[dict[str, Any]]
    if objective == "DPO":
        rows = [
            {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
            for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
        ]
    else:
        following = (*CHOSEN[1:], *CHOSEN[:1])
        rows = [
            {"prompt_ids": prompt, "completion_ids": answer, "KL_completion_ids": other, "label": wanted}
            for prompt, answer, other, wanted in zip(PROMPTS, CHOSEN, following, WANTED, strict=True)
        ]
    return float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)).detach())


def our_loss(model: Any, reference: Any, objective: Objective, folder: Path) -> float:
    """Our loss of the same tokens."""
    from tests.trainer.toy_base import word_tokenizer
    from transformers import TrainingArguments

    from graft_trainer.data.rows import IGNORED, PreferenceRow, Row
    from graft_trainer.preferences.batches import PreferenceCollator, preference_features
    from graft_trainer.preferences.rendering import mismatched
    from graft_trainer.preferences.trainer import PreferenceTrainer

    def row(prompt: list[int], answer: list[int]) -> Row:
        return Row.labelled(prompt + answer, [IGNORED] * len(prompt) + answer)

    own = [row(prompt, chosen) for prompt, chosen in zip(PROMPTS, CHOSEN, strict=True)]
    if objective == "DPO":
        others = [row(prompt, rejected) for prompt, rejected in zip(PROMPTS, REJECTED, strict=True)]
    else:
        others = [mismatched(first, second, 64) for first, second in zip(own, (*own[1:], own[0]), strict=True)]
    rows = [
        PreferenceRow(first.tokens, first.answers, other=other, wanted=wanted)
        for first, other, wanted in zip(own, others, WANTED, strict=True)
    ]
    given: dict[str, Any] = {"objective": objective, "preference": PREFERENCE}
    hyperparameters = TrainingHyperparameters.model_construct(**given)
    trainer = PreferenceTrainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), use_cpu=True, report_to="none"),
        hyperparameters=hyperparameters,
        reference=reference,
    )
    batch = PreferenceCollator(word_tokenizer())([preference_features(item) for item in rows])
    return float(trainer.compute_loss(model, batch).detach())


@pytest.mark.parametrize("objective", ["DPO", "KTO"])
def test_near_the_base_the_loss_is_trls(objective: Objective, tmp_path: Path) -> None:
    from peft import LoraConfig

    from graft_trainer.preferences.reference import InitialModel

    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
    trainer = trl_trainer(objective, tmp_path, model=tiny_model(), peft_config=adapter)
    move_adapter(trainer.model, seed=1)
    expected = trl_loss(trainer, objective)
    assert expected != pytest.approx(math.log(2) if objective == "DPO" else 0.5, abs=1e-3)
    assert our_loss(trainer.model, InitialModel(trainer.model), objective, tmp_path) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("objective", ["DPO", "KTO"])
def test_near_the_adapter_that_it_began_with_the_loss_is_trls(objective: Objective, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from graft_trainer.preferences.reference import restored_initial_model
    from graft_trainer.training.checkpoint import save_adapter_weights

    adapter = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(tiny_model(), adapter)
    move_adapter(model, seed=1)
    save_adapter_weights(model, tmp_path / "initial.safetensors")
    ours = get_peft_model(tiny_model(), adapter)
    reference = restored_initial_model(ours, tmp_path / "initial.safetensors")
    trainer = trl_trainer(objective, tmp_path, model=model)
    for moved in (trainer.model, ours):
        move_adapter(moved, seed=2)
    expected = trl_loss(trainer, objective)
    assert our_loss(ours, reference, objective, tmp_path) == pytest.approx(expected, rel=1e-5)
    assert our_loss(ours, reference, objective, tmp_path) == pytest.approx(expected, rel=1e-5), (
        "nothing was left behind"
    )


def test_the_formulas_are_those_of_the_papers() -> None:
    import torch

    from graft_trainer.preferences.losses import dpo_losses, kto_losses, reference_point

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    (dpo,) = dpo_losses(torch.tensor([2.0]), torch.tensor([-1.0]), beta=0.1)
    assert float(dpo) == pytest.approx(-math.log(sigmoid(0.1 * 3)))
    ratios, wanted = torch.tensor([2.0, -1.0]), torch.tensor([True, False])
    point = reference_point(torch.tensor([0.5, 1.5]))
    good, bad = kto_losses(ratios, wanted, point, beta=0.1, desirable_weight=2.0, undesirable_weight=3.0)
    assert float(good) == pytest.approx(2 * (1 - sigmoid(0.1 * (2 - 1))))
    assert float(bad) == pytest.approx(3 * (1 - sigmoid(0.1 * (1 + 1))))
    assert float(reference_point(torch.tensor([-4.0, 1.0]))) == 0.0, "a divergence is never negative"


def test_accuracy_is_the_part_of_pairs_in_which_the_better_answer_has_gained() -> None:
    import torch

    from graft_trainer.preferences.losses import label_accuracy, pair_accuracy

    assert pair_accuracy(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 3.0])) == pytest.approx(0.5)
    ratios = torch.tensor([3.0, 1.0, 2.0, 0.0])
    assert label_accuracy(ratios, torch.tensor([True, True, False, False])) == pytest.approx(0.75)
    assert label_accuracy(ratios, torch.tensor([True] * 4)) is None
