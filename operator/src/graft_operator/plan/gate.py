"""The gate: whether a version is good enough to be served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graft_operator.api.evaluation import Evaluation
from graft_registry.documents import VersionManifest

ROUNDING: Final = 1e-9
"""Exactly at a limit passes: (1.05 - 1) / 1 is a little more than 0.05 in floating point."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether the version passed, and by how much, in words."""

    passed: bool
    reason: str
    message: str


def judge(candidate: VersionManifest, live: VersionManifest | None, limits: Evaluation) -> GateVerdict:
    """Compare the candidate with the base alone, and with the live version where both saw the same rows.

    Losses are nats per token on the held-out rows. Improvement is relative, ``(base - candidate) / base``, and so is
    regression, ``(candidate - live) / live``.
    """
    loss, base_loss = candidate.metrics.eval_loss, candidate.metrics.base_eval_loss
    if loss is None or base_loss is None:
        return GateVerdict(False, "NotEvaluated", "the manifest holds no evaluation loss: train again")
    improvement = (base_loss - loss) / base_loss if base_loss else 0.0
    needed = float(limits.min_improvement_over_base)
    if improvement < needed - ROUNDING:
        return GateVerdict(
            False,
            "WorseThanBase",
            f"evaluation loss {loss:.4f} improves the base's {base_loss:.4f} by {improvement:.1%},"
            f" below evaluation.minImprovementOverBase {needed:.1%}",
        )
    return _against_live(candidate, live, limits) or GateVerdict(
        True, "Passed", f"evaluation loss {loss:.4f}, {improvement:.1%} better than the base's {base_loss:.4f}"
    )


def _against_live(candidate: VersionManifest, live: VersionManifest | None, limits: Evaluation) -> GateVerdict | None:
    """Return the refusal if the candidate is worse than the live version by more than the limit.

    An older candidate is a way back that somebody chose, by a revert of the spec or of the base: it is not compared.
    """
    if live is None or candidate.number <= live.number:
        return None
    same_rows = live.dataset.eval_digest == candidate.dataset.eval_digest
    loss, live_loss = candidate.metrics.eval_loss, live.metrics.eval_loss
    if not same_rows or not live_loss or loss is None:
        return None
    regression = (loss - live_loss) / live_loss
    allowed = float(limits.max_regression)
    if regression <= allowed + ROUNDING:
        return None
    return GateVerdict(
        False,
        "WorseThanLive",
        f"evaluation loss {loss:.4f} is {regression:.1%} worse than version {live.number}'s {live_loss:.4f},"
        f" above evaluation.maxRegression {allowed:.1%}",
    )
