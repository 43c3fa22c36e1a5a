"""Loads an adapter's files onto the base that it will be served on, and judges it there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from graft_trainer import model
from graft_trainer.config import RunConfig
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import RenderedRows
from graft_trainer.judging.evaluation import Comparison, Question, compare
from graft_trainer.methods.long_context import LongContext
from graft_trainer.preferences.batches import preference_rows
from graft_trainer.preferences.reference import Reference
from graft_trainer.preferences.scores import PreferenceScores, score_preferences

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How good an adapter is; ``preference`` where it has learned preferences."""

    comparison: Comparison
    preference: PreferenceScores | None = None


def load_served(path: Path, adapter: Path, context: LongContext | None = None) -> PeftModel:
    """Load the base as it is served, with the adapter read back from its files.

    A base that QLoRA was chosen for may not fit the GPU in the precision that it is served in.
    """
    serving_base = model.load_base(path, dtype=model.compute_dtype(path, "Auto"), context=context, offload=True)
    return PeftModel.from_pretrained(serving_base, adapter)


def assess(
    adapted: PeftModel,
    config: RunConfig,
    renderer: Renderer,
    rows: RenderedRows | None,
    questions: Sequence[Question],
    *,
    reference: Reference,
    stop: Callable[[], None],
    context: LongContext | None = None,
) -> Assessment:
    """Score the adapter beside its base, on held-out rows where there are some and by its answers to the questions.

    ``reference`` is what preferences are relative to; ``stop`` is called between batches and may raise.
    """
    learns_answers = config.training.objective == "SFT"
    held_out = rows.rows if rows else ()
    comparison = compare(
        adapted,
        renderer.tokenizer,
        held_out if learns_answers else (),
        list(questions),
        between_batches=stop,
        context=context,
    )
    for name, scores in (("adapter", comparison.adapter), ("base", comparison.base)):
        logger.info("%s: loss %s, exact match %s", name, scores.loss, scores.exact_match)
    if learns_answers or not held_out:
        return Assessment(comparison=comparison)
    preferences = preference_rows(held_out)
    scored = score_preferences(
        adapted, reference, renderer.tokenizer, preferences, config.training, between_batches=stop
    )
    logger.info("preferences: %s", scored)
    return Assessment(comparison=comparison, preference=scored)
