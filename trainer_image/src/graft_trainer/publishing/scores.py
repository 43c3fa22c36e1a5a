"""A version's scores beside those of its base and of the version before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graft_registry.documents import Metrics, VersionDraft, VersionManifest

SCORES: Final = (
    ("loss, nats per token", "eval_loss", "base_eval_loss"),
    ("perplexity", "perplexity", "base_perplexity"),
    ("exact match", "exact_match", "base_exact_match"),
)
"""Name of each score, and the fields of Metrics that hold it for the adapter and for its base alone."""


@dataclass(frozen=True, slots=True)
class Score:
    """One score. None where it was not measured, or on other rows."""

    name: str
    adapter: float | None
    base: float | None
    previous: float | None


def scores(draft: VersionDraft, previous: VersionManifest | None) -> tuple[Score, ...]:
    """Return the scores on the held-out rows; those of the version before only if it saw the same rows."""
    comparable = previous is not None and previous.dataset.eval_digest == draft.dataset.eval_digest
    before = previous.metrics if previous is not None and comparable else Metrics()
    return tuple(
        Score(name, getattr(draft.metrics, own), getattr(draft.metrics, base), getattr(before, own))
        for name, own, base in SCORES
    )
