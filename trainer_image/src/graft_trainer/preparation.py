"""What a run does before it loads the base's weights: check the adapter's shape, and render the rows to tokens."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from graft_trainer import model
from graft_trainer.data.rendering import Renderer
from graft_trainer.methods.rehearsal import AdapterPlan, rehearse
from graft_trainer.outcome import Outcome, Reason
from graft_trainer.preferences.batches import preference_rows
from graft_trainer.preferences.rendering import check_both_labels, render_preferences
from graft_trainer.row_files.kept import EVALUATION, TRAINING, KeptRows, PreparedRows, RunRows, read_rows
from graft_trainer.row_files.processes import BATCH
from graft_trainer.row_files.rendering import render_rows
from graft_trainer.run import AnyRun, Run
from graft_trainer.runtime import rendering_processes, route_transformers_logging

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

REPORTED_ROWS = 20 * BATCH
"""Rendered rows between two lines of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that a training needs besides the base's weights."""

    renderer: Renderer
    plan: AdapterPlan
    rows: PreparedRows


def prepare(run: Run) -> Prepared:
    """Attach the adapter to a base without weights to check it, then render the rows, or restore their kept tokens.

    Raises BaseMismatchError, InvalidConfigError, BadDatasetError, and PreemptedError if the pod is asked to stop.
    """
    path = run.config.base.path
    tokenizer = model.load_tokenizer(path)
    plan = rehearse(model.load_skeleton(path, run.context), run.config, run.base)
    renderer = renderer_of(run, tokenizer)
    return Prepared(renderer=renderer, plan=plan, rows=_rows(run, renderer))


def prepare_ahead(run: Run) -> Outcome:
    """Render the rows of a later training, and store their tokens in the registry where they are many enough for that.

    Faults of the adapter's shape or of the rows raise what they would raise in the training.
    Raises BaseMismatchError, InvalidConfigError, BadDatasetError and PreemptedError.
    """
    route_transformers_logging()
    kept, path = run.rows.kept, run.config.base.path
    rehearse(model.load_skeleton(path, run.context), run.config, run.base)
    if kept is not None and run.rows.dataset is None:
        return Outcome(reason=Reason.PREPARED, message="the rows are prepared already")
    rows = render(run, run.rows, renderer_of(run, model.load_tokenizer(path)))
    run.notice.stop_if_requested()
    # The training reports progress of its own, and must not begin with the counts of this Job.
    run.progress.enter("Loading", rows=None, total_rows=None)
    counts = f"{len(rows.training.rows)} rows to train on and {len(rows.evaluation.rows)} held out are prepared"
    if kept is None:
        return Outcome(reason=Reason.PREPARED, message=f"{counts}; so few are rendered again by the training itself")
    if not kept.keep(run.rows_folder, rows):
        run.notice.stop_if_requested()
        return Outcome(reason=Reason.REGISTRY_UNAVAILABLE, message=f"{counts}, but the registry did not take them")
    return Outcome(reason=Reason.PREPARED, message=f"{counts} and kept")


def renderer_of(run: AnyRun, tokenizer: PreTrainedTokenizerBase) -> Renderer:
    """Return what renders conversations to the tokens that a server of the base would make of them."""
    return Renderer(
        tokenizer,
        stops=model.stop_tokens(run.config.base.path, tokenizer),
        today=run.today,
        vocabulary=run.base.fingerprint.vocab_size,
        learns_prompts=run.config.training.train_on_inputs,
    )


def _rows(run: Run, renderer: Renderer) -> PreparedRows:
    """Restore kept tokens, or render the rows. Rows that are worth keeping are rendered by the first worker for all."""
    if run.rows.kept is None:
        return render(run, run.rows, renderer)
    if run.workers.is_first:
        return _prepared_for_all(run, run.rows.kept, renderer)
    run.workers.interruptible_barrier(run.notice.stop_if_requested)
    are_kept = run.workers.broadcast(False)
    return (run.rows.kept.restore(run.rows_folder) if are_kept else None) or render(run, run.rows, renderer)


def _prepared_for_all(run: Run, kept: KeptRows, renderer: Renderer) -> PreparedRows:
    are_kept, rows = True, kept.restore(run.rows_folder) if run.rows.dataset is None else None
    if rows is None:
        rows = render(run, run.rows, renderer)
        are_kept = kept.keep(run.rows_folder, rows)
    run.workers.interruptible_barrier(run.notice.stop_if_requested)
    run.workers.broadcast(are_kept)
    return rows


def render(run: AnyRun, rows: RunRows, renderer: Renderer) -> PreparedRows:
    """Render the training and the held-out rows, which are read first if nobody has done so.

    Raises BadDatasetError.
    """
    config = run.config
    # A pod that was killed may have left files there.
    shutil.rmtree(run.rows_folder, ignore_errors=True)
    dataset = rows.dataset or read_rows(config, rows.fetch(), rows.between)
    render_part = partial(
        render_rows if config.training.objective == "SFT" else render_preferences,
        renderer=renderer,
        max_length=config.training.max_sequence_length,
        max_dropped_percent=config.rows.max_dropped_percent,
        processes=rendering_processes(os.environ, processes=config.workers.processes_per_node),
    )
    parts = []
    for name, examples in ((TRAINING, dataset.training), (EVALUATION, dataset.evaluation)):
        watch = _watch(rows, name, len(examples))
        parts.append(render_part(examples, folder=run.rows_folder / name, between_batches=watch))
        logger.info("%s: %s", name, parts[-1])
        if doubt := renderer.unknown.doubt(parts[-1].unknown):
            logger.warning("%s: %s", name, doubt)
    training, evaluation = parts
    if config.training.objective == "KTO":
        check_both_labels(preference_rows(evaluation.rows))
    if evaluation.rows:
        # Their examples are only needed where nothing is held out, for questions to judge by.
        training = replace(training, examples=())
    return PreparedRows(dataset=dataset, training=training, evaluation=evaluation)


def _watch(rows: RunRows, name: str, total: int) -> Callable[[int], None]:
    """Return a callback for between two batches of rows: it stops if the pod was asked to, and logs now and then."""
    reported = 0

    def between_batches(done: int) -> None:
        nonlocal reported
        rows.between(done, total)
        if done - reported >= REPORTED_ROWS:
            reported = done
            logger.info("%s: %d of %d rows rendered", name, done, total)

    return between_batches
