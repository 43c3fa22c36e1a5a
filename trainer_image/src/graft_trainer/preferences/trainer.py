"""Training steps that learn preferences. Everything else is the Trainer's that any other run has."""

from __future__ import annotations

from typing import Any

import torch

from graft_trainer.config import TrainingHyperparameters
from graft_trainer.methods.shifted_attention import ShiftedAttentionTrainer
from graft_trainer.preferences.batches import WANTED
from graft_trainer.preferences.likelihoods import Batch, answers_at, log_likelihoods
from graft_trainer.preferences.losses import dpo_losses, kto_losses, reference_point
from graft_trainer.preferences.reference import Reference
from graft_trainer.training.token_count import TokenCountingTrainer


class PreferenceTrainer(TokenCountingTrainer):
    """Computes the loss of DPO or KTO, as the mean over the examples of a micro-batch.

    The reference passes first and leaves a number per answer behind, so that its logits are gone when those of the
    adapter, which autograd keeps, come.
    """

    def __init__(
        self, *args: Any, hyperparameters: TrainingHyperparameters, reference: Reference, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._objective = hyperparameters.objective
        self._preference = hyperparameters.preference
        self._reference = reference
        # The loss is a mean over examples, not over the tokens of all micro-batches of a step.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the mean loss of a batch, with no outputs beside it where the Trainer asks for them."""
        loss = self._dpo_loss(model, inputs) if self._objective == "DPO" else self._kto_loss(model, inputs)
        return (loss, {}) if return_outputs else loss

    def _dpo_loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        with self._reference.applied() as reference:
            before = log_likelihoods(reference, batch)
        ratios = log_likelihoods(model, batch) - before
        return dpo_losses(ratios[:, 0], ratios[:, 1], beta=self._preference.beta).mean()

    def _kto_loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Pass answers and mismatched rows one after the other: only the former are learned from."""
        answers, mismatched = answers_at(batch, 0, 1), answers_at(batch, 1, 2)
        with self._reference.applied() as reference:
            before, before_mismatched = log_likelihoods(reference, answers), log_likelihoods(reference, mismatched)
        with torch.no_grad():
            moved = log_likelihoods(self.model, mismatched) - before_mismatched
        ratios = (log_likelihoods(model, answers) - before).squeeze(1)
        losses = kto_losses(
            ratios,
            batch[WANTED],
            # All workers measure the distance together, as they take the step.
            reference_point(self.accelerator.gather(moved)),
            beta=self._preference.beta,
            desirable_weight=self._preference.desirable_weight,
            undesirable_weight=self._preference.undesirable_weight,
        )
        return losses.mean()


class ShiftedPreferenceTrainer(ShiftedAttentionTrainer, PreferenceTrainer):
    """Learns preferences with shifted attention (LongLoRA)."""


def disable_dropout(model: torch.nn.Module) -> None:
    """Switch all dropout off.

    Ratios of two models would be noise with it: the reference implementations of DPO and KTO, and TRL, train without.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
