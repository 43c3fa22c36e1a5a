"""The heavy part of a run, in its order: render, train, judge, publish."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peft import PeftModel

from graft_registry.documents import MergeRecord, VersionManifest
from graft_registry.errors import Corrupt, NotFound
from graft_trainer import model
from graft_trainer.data.conversation import Example
from graft_trainer.data.rendering import Renderer
from graft_trainer.data.rows import RenderedRows, Row
from graft_trainer.judging.evaluation import Comparison, compare, questions_of
from graft_trainer.judging.golden import golden_prompts
from graft_trainer.judging.probes import probes_of
from graft_trainer.methods import principal_weights
from graft_trainer.methods.adapters import attach_adapter
from graft_trainer.methods.table import METHODS
from graft_trainer.methods.warm_start import begin_with_version
from graft_trainer.outcome import Outcome, Reason
from graft_trainer.preferences.batches import preference_rows
from graft_trainer.preferences.reference import (
    Beginning,
    LoadedVersion,
    Reference,
    begin_at,
    beginning_of,
    needs_beginning,
    store_beginning,
)
from graft_trainer.preferences.scores import PreferenceScores, score_preferences
from graft_trainer.preferences.trainer import disable_dropout
from graft_trainer.preparation import Prepared, prepare
from graft_trainer.progress import ProgressWriter
from graft_trainer.publishing.merging import merge_adapter
from graft_trainer.publishing.version import (
    TrainedAdapter,
    canonicalize_adapter_config,
    version_draft,
    write_documents,
)
from graft_trainer.run import Run
from graft_trainer.runtime import route_transformers_logging
from graft_trainer.training.checkpoint import RunCheckpoints
from graft_trainer.training.loop import FinishedTraining, RunTrainer
from graft_trainer.workers.distributed import free_memory
from graft_trainer.workers.sharding import check_sharding, shard_base

logger = logging.getLogger(__name__)


def train_and_publish(run: Run) -> Outcome:
    """Train the adapter with all workers, and judge and publish it with the first.

    Raises TrainingError (BadDatasetError, InvalidConfigError, DivergedError, PreemptedError) and the registry's errors.
    """
    route_transformers_logging()
    progress = run.progress
    prepared = prepare(run)
    training, parameters = _train(run, prepared, progress)
    free_memory()
    if not run.workers.is_first:
        return _wait_for_outcome(run, training)
    canonicalize_adapter_config(training.adapter / "adapter_config.json", run.base)
    run.notice.stop_if_requested(step=training.steps)

    progress.enter("Evaluating", step=training.steps, epoch=training.epochs, eta_seconds=None)
    adapter = _assess(run, prepared, training, parameters)
    progress.enter("Publishing")
    outcome = _publish(run, adapter, progress)
    run.workers.announce(outcome)
    return outcome


def _wait_for_outcome(run: Run, training: FinishedTraining) -> Outcome:
    """Wait for the first worker, which judges and publishes: a pod that ended before could not start again with it."""
    return run.workers.await_outcome(lambda: run.notice.stop_if_requested(step=training.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    trainable: int
    total: int
    trained_on: str


def _train(run: Run, prepared: Prepared, progress: ProgressWriter) -> tuple[FinishedTraining, _Parameters]:
    config, method = run.config, METHODS[run.config.method]
    rows = prepared.training_rows.rows
    dtype = model.compute_dtype(config.base.path, config.training.precision)
    if config.workers.sharded:
        check_sharding(config.method)
    frozen = model.load_base(
        config.base.path, dtype=dtype, method=method, context=run.context, sharded=config.workers.sharded
    )
    checkpoints = RunCheckpoints(run.checkpoints, run.work_folder / "checkpoints", run.workers)
    resumed = checkpoints.restore()
    trainable_model = attach_adapter(
        frozen, config, prepared.plan.target_modules, rows=rows, checkpoints=checkpoints, resumed=resumed
    )
    if config.warm_start is not None and resumed is None:
        begin_with_version(
            trainable_model, config.warm_start, run.registry, run.work_folder, objective=config.training.objective
        )
    reference = _reference(run, trainable_model, checkpoints, resumed)
    trainable, total = model.count_parameters(trainable_model)
    run.notice.stop_if_requested()
    if config.workers.sharded:
        shard_base(trainable_model, model.device(), workers=run.workers.count)
    trainer = RunTrainer(
        config.training,
        method,
        checkpoints,
        progress,
        run.notice,
        run.workers,
        learning_rate_ratio=config.lora.learning_rate_ratio,
        reference=reference,
    )
    tokenizer = prepared.renderer.tokenizer
    training = trainer.train(trainable_model, tokenizer, rows, prepared.evaluation_rows.rows, resumed=resumed)
    if method.initialization == "PrincipalWeights" and run.workers.is_first:
        principal_weights.convert_to_lora(trainable_model, training.adapter, checkpoints.initial_adapter)
    return training, _Parameters(trainable=trainable, total=total, trained_on=model.trained_on(dtype, method))


def _reference(run: Run, trained: PeftModel, checkpoints: RunCheckpoints, resumed: Path | None) -> Reference | None:
    """Return what an adapter that learns preferences is held near."""
    if run.config.training.objective == "SFT":
        return None
    disable_dropout(trained)
    warm = run.config.warm_start is not None
    if not needs_beginning(METHODS[run.config.method], warm=warm):
        return Beginning(trained)
    if resumed is not None:
        return begin_at(trained, checkpoints.initial_adapter)
    if warm and run.workers.is_first:
        store_beginning(trained, checkpoints.initial_adapter)
    return beginning_of(trained)


def _assess(run: Run, prepared: Prepared, training: FinishedTraining, parameters: _Parameters) -> TrainedAdapter:
    """Judge the trained adapter, and merge it where it is served merged."""
    training_rows, evaluation_rows = prepared.training_rows, prepared.evaluation_rows
    tokenizer = prepared.renderer.tokenizer
    # Without held-out rows the questions come from the training rows: they can still prove that the adapter is applied.
    held_out = evaluation_rows if evaluation_rows.rows else training_rows
    comparison, preference = _judge(run, prepared.renderer, evaluation_rows, held_out.examples, training)
    return TrainedAdapter(
        base=run.base,
        dataset=prepared.dataset,
        training_rows=training_rows,
        evaluation_rows=evaluation_rows,
        training=training,
        comparison=comparison,
        preference=preference,
        golden=golden_prompts(comparison, tokenizer),
        probes=probes_of(comparison.questions, tokenizer),
        merge=_merge(run, held_out.rows, training),
        plan=prepared.plan,
        trained_on=parameters.trained_on,
        trainable_parameters=parameters.trainable,
        all_parameters=parameters.total,
    )


def _judge(
    run: Run,
    renderer: Renderer,
    rows: RenderedRows,
    examples: Sequence[Example],
    training: FinishedTraining,
) -> tuple[Comparison, PreferenceScores | None]:
    """Score the adapter's files on the serving base; the model that was trained is gone by now."""
    path = run.config.base.path
    # A base that QLoRA was chosen for may not fit the GPU in the precision that it is served in.
    serving_base = model.load_base(path, dtype=model.compute_dtype(path, "Auto"), context=run.context, offload=True)
    adapted = PeftModel.from_pretrained(serving_base, training.adapter)
    evaluation = run.config.evaluation
    questions = questions_of(evaluation.probes, examples, renderer, limit=evaluation.max_probe_rows)
    learns_answers = run.config.training.objective == "SFT"
    stop = partial(run.notice.stop_if_requested, step=training.steps)
    comparison = compare(
        adapted,
        renderer.tokenizer,
        rows.rows if learns_answers else (),
        questions,
        between_batches=stop,
        context=run.context,
    )
    for name, scores in (("adapter", comparison.adapter), ("base", comparison.base)):
        logger.info("%s: loss %s, exact match %s", name, scores.loss, scores.exact_match)
    if learns_answers:
        return comparison, None
    reference: Reference = Beginning(adapted)
    if run.config.warm_start is not None:
        reference = LoadedVersion(adapted, training.adapter, training.beginning)
    preferences = preference_rows(rows.rows)
    scored = score_preferences(
        adapted, reference, renderer.tokenizer, preferences, run.config.training, between_batches=stop
    )
    logger.info("preferences: %s", scored)
    return comparison, scored


def _merge(run: Run, rows: Sequence[Row], training: FinishedTraining) -> MergeRecord | None:
    """Add the merged model to the version's files, where it is to be served merged."""
    if run.config.serving.mode != "Merged":
        return None
    free_memory()
    return merge_adapter(run.base, run.config.base.path, training.adapter, rows, context=run.context)


def _previous(run: Run) -> VersionManifest | None:
    """Return the version that this one is compared with, as far as the registry still has it."""
    try:
        return None if run.config.parent is None else run.registry.read(run.config.parent).manifest
    except (NotFound, Corrupt) as error:
        logger.warning("version %d is not compared with: %s", run.config.parent, error)
        return None


def _publish(run: Run, adapter: TrainedAdapter, progress: ProgressWriter) -> Outcome:
    draft = version_draft(run.config, adapter)
    write_documents(draft, adapter, previous=_previous(run), progress=progress)
    stored = run.registry.publish(draft, adapter.training.adapter)
    number, digest = stored.manifest.number, stored.digest
    progress.enter("Published", number=number, manifest_digest=digest)
    run.checkpoints.clear()
    message = f"published version {number} with {len(adapter.golden)} golden prompts"
    logger.info("%s: %s", message, digest)
    return Outcome(
        reason=Reason.PUBLISHED,
        message=message,
        number=number,
        manifest_digest=digest,
        step=adapter.training.steps,
    )
