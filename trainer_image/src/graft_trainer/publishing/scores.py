"""A version's scores beside those of its base and of the version before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graft_registry.documents import Metrics, VersionDraft, VersionManifest

SCORES: Final[tuple[tuple[str, str, str | None], ...]] = (
    ("loss, nats per token", "eval_loss", "base_eval_loss"),
    ("perplexity", "perplexity", "base_perplexity"),
    ("exact match", "exact_match", "base_exact_match"),
)
"""Name of each score, and the fields of Metrics that hold it for the adapter and for its base alone."""

PREFERENCE_SCORES: Final[tuple[tuple[str, str, str | None], ...]] = (
    ("preference accuracy", "preference_accuracy", None),
    ("loss of the objective, beside its reference's", "eval_loss", "base_eval_loss"),
    ("exact match", "exact_match", "base_exact_match"),
)
"""The same of a version that has learned preferences."""


@dataclass(frozen=True, slots=True)
class Score:
    """One score. None where it was not measured, or on other rows."""

    name: str
    adapter: float | None
    base: float | None
    previous: float | None


def scores(draft: VersionDraft, previous: VersionManifest | None) -> tuple[Score, ...]:
    """Return the scores on the held-out rows; those of the version before only if it saw the same rows."""
    before = Metrics()
    if previous is not None and previous.eval_digest == draft.eval_digest:
        before = previous.metrics if previous.objective == draft.objective else before
    return tuple(
        Score(name, getattr(draft.metrics, own), getattr(draft.metrics, base) if base else None, getattr(before, own))
        for name, own, base in (SCORES if draft.objective == "SFT" else PREFERENCE_SCORES)
    )
