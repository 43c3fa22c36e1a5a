"""The losses of preference learning, as their papers write them. Pure.

With r(y) = log p(y|x) - log p_ref(y|x), the log-likelihood ratio of adapter and reference summed over the tokens of an
answer y, and sigmoid(t) = 1 / (1 + exp(-t)):

* **DPO** (Rafailov et al. 2023, arXiv:2305.18290, equation 7), for a chosen answer c and a rejected one j:
  ``-log sigmoid(beta * (r(c) - r(j)))``.
* **KTO** (Ethayarajh et al. 2024, arXiv:2402.01306, §4.1), for an answer that is wanted
  ``desirable_weight * (1 - sigmoid(beta * (r - z)))``, and for one that isn't
  ``undesirable_weight * (1 - sigmoid(beta * (z - r)))``. The reference point z, through which nothing is learned, is
  the mean ratio of prompts with the answers of other rows, at least 0: an estimate of the KL divergence.
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def dpo_losses(chosen: torch.Tensor, rejected: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return DPO's loss of each pair, from the log-likelihood ratios of its answers."""
    return -logsigmoid(beta * (chosen - rejected))


def kto_losses(
    ratios: torch.Tensor,
    wanted: torch.Tensor,
    reference_point: torch.Tensor,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> torch.Tensor:
    """Return KTO's loss of each row, from its log-likelihood ratio and from whether its answer is wanted."""
    sign = torch.where(wanted, 1.0, -1.0)
    weight = torch.where(wanted, desirable_weight, undesirable_weight)
    return weight * torch.sigmoid(-sign * beta * (ratios - reference_point))


def reference_point(mismatched_ratios: torch.Tensor) -> torch.Tensor:
    """Return KTO's estimate of how far the adapter is from the reference: a KL divergence, so never below 0."""
    return mismatched_ratios.detach().mean().clamp(min=0.0)


def pair_accuracy(chosen: torch.Tensor, rejected: torch.Tensor) -> float:
    """Return the part of pairs whose chosen answer has the higher ratio; equal ones count half, as chance would."""
    return float((torch.sign(chosen - rejected).mean() + 1) / 2)


def label_accuracy(ratios: torch.Tensor, wanted: torch.Tensor) -> float | None:
    """Return the part of all pairs of a wanted and an unwanted answer in which the wanted one has the higher ratio.

    So rows without partners are judged by the same measure as pairs (the area under the ROC curve); None where all
    answers have the same label.
    """
    if wanted.all() or not wanted.any():
        return None
    return pair_accuracy(ratios[wanted][:, None], ratios[~wanted][None, :])
