"""Judges by held-out preferences, on the base that the adapter is served on: does it prefer what people prefer?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from graft_trainer.config import TrainingHyperparameters
from graft_trainer.data.rows import PreferenceRow
from graft_trainer.judging.evaluation import BATCH_ROWS, batches
from graft_trainer.preferences.batches import PreferenceCollator, preference_features
from graft_trainer.preferences.likelihoods import log_likelihoods
from graft_trainer.preferences.losses import dpo_losses, kto_losses, label_accuracy, pair_accuracy, reference_point
from graft_trainer.preferences.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceScores:
    """Figures on held-out preferences; losses are those of the objective, per example."""

    loss: float
    reference_loss: float
    """What a model that is the reference itself has."""
    accuracy: float | None
    """Part of pairs in which the better answer has become likelier than the other; None for labels of one kind only."""


@torch.no_grad()
def score_preferences(
    model: PeftModel,
    reference: Reference,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PreferenceRow],
    hyperparameters: TrainingHyperparameters,
    *,
    between_batches: Callable[[], None] = lambda: None,
) -> PreferenceScores | None:
    """Score the adapter beside its reference; None where there is nothing to measure on.

    ``between_batches`` may raise to stop.
    """
    if not rows:
        return None
    collate = PreferenceCollator(tokenizer)
    model.eval()
    measured = []
    for examples in batches(rows, lambda row: 2 * max(len(row), len(row.other)), most=BATCH_ROWS // 2):
        between_batches()
        batch = {
            name: tensor.to(model.device) for name, tensor in collate([*map(preference_features, examples)]).items()
        }
        own = log_likelihoods(model, batch)
        with reference.applied() as before:
            measured.append((own - log_likelihoods(before, batch)).cpu())
    ratios, wanted = torch.cat(measured), torch.tensor([row.wanted for row in rows])
    return _scores(ratios, wanted, hyperparameters)


def _scores(ratios: torch.Tensor, wanted: torch.Tensor, hyperparameters: TrainingHyperparameters) -> PreferenceScores:
    own, other = ratios.unbind(1)
    preference = hyperparameters.preference
    if hyperparameters.objective == "DPO":
        losses = dpo_losses(own, other, beta=preference.beta)
        return PreferenceScores(
            loss=losses.mean().item(), reference_loss=math.log(2), accuracy=pair_accuracy(own, other)
        )
    losses, at_reference = (
        kto_losses(
            ratio,
            wanted,
            point,
            beta=preference.beta,
            desirable_weight=preference.desirable_weight,
            undesirable_weight=preference.undesirable_weight,
        )
        for ratio, point in ((own, reference_point(other)), (torch.zeros_like(own), torch.zeros(())))
    )
    return PreferenceScores(
        loss=losses.mean().item(),
        reference_loss=at_reference.mean().item(),
        accuracy=label_accuracy(own, wanted),
    )
