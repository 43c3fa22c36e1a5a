"""What is made ready before the base's weights are loaded: the adapter's plan, and the rows as tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graft_trainer import model
from graft_trainer.data.dataset import Dataset
from graft_trainer.data.rendering import BATCH, Renderer, render_rows
from graft_trainer.data.rows import RenderedRows
from graft_trainer.methods.rehearsal import AdapterPlan, rehearse
from graft_trainer.preferences.rendering import render_preferences
from graft_trainer.run import AnyRun, Run
from graft_trainer.training.progress import ProgressWriter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

REPORTED_ROWS = 20 * BATCH
"""Rendered rows between two lines of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedParts:
    """The rows of a dataset as tokens. Of the training rows the examples are only kept where nothing is held out."""

    training: RenderedRows
    evaluation: RenderedRows

    @property
    def asked(self) -> RenderedRows:
        """The rows that questions are made of.

        Without held-out rows they come from the training rows: they can still prove that the adapter is applied.
        """
        return self.evaluation if self.evaluation.rows else self.training


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that nothing but the weights is missing of."""

    renderer: Renderer
    plan: AdapterPlan
    rows: RenderedParts


def prepare(run: Run, progress: ProgressWriter) -> Prepared:
    """Rehearse the adapter, then render the rows; stops in between where the pod is asked to.

    Raises BaseMismatchError, InvalidConfigError and BadDatasetError.
    """
    path = run.config.base.path
    tokenizer = model.load_tokenizer(path)
    plan = rehearse(model.load_skeleton(path, run.context), run.config, run.base)
    renderer = renderer_of(run, tokenizer)
    return Prepared(renderer=renderer, plan=plan, rows=render_parts(run, run.dataset, renderer, progress))


def renderer_of(run: AnyRun, tokenizer: PreTrainedTokenizerBase) -> Renderer:
    """Return what renders as a server of the base would."""
    return Renderer(
        tokenizer,
        stops=model.stop_tokens(run.config.base.path, tokenizer),
        today=run.today,
        vocabulary=run.base.fingerprint.vocab_size,
        learns_prompts=run.config.training.train_on_inputs,
    )


def render_parts(run: AnyRun, dataset: Dataset, renderer: Renderer, progress: ProgressWriter) -> RenderedParts:
    """Render all rows of a dataset, which hands them over.

    Raises BadDatasetError.
    """
    training, evaluation = dataset.take_rows()
    parts = []
    render = render_rows if run.config.training.objective == "SFT" else render_preferences
    for name, examples in (("training", training), ("evaluation", evaluation)):
        rendered = render(
            examples,
            renderer,
            max_length=run.config.training.max_sequence_length,
            max_dropped_percent=run.config.rows.max_dropped_percent,
            between_batches=_watch(run, progress, name, len(examples)),
        )
        logger.info("%s: %s", name, rendered)
        parts.append(rendered)
    if parts[1].rows:
        parts[0] = replace(parts[0], examples=())
    return RenderedParts(training=parts[0], evaluation=parts[1])


def _watch(run: AnyRun, progress: ProgressWriter, name: str, total: int) -> Callable[[int], None]:
    """Return what happens between two batches of rows: stop if asked, and now and then say how far it is."""
    reported = 0

    def between_batches(done: int) -> None:
        nonlocal reported
        run.notice.stop_if_requested()
        if done - reported >= REPORTED_ROWS:
            reported = done
            logger.info("%s: %d of %d rows rendered", name, done, total)
            progress.update()

    return between_batches
