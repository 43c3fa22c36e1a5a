"""The heavy part of a run, in its order: render, train, judge, publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel

from graft_registry.documents import MergeRecord
from graft_trainer import model
from graft_trainer.data.rows import Row
from graft_trainer.judging.assessment import Assessment, assess, load_served
from graft_trainer.judging.evaluation import questions_of
from graft_trainer.judging.golden import golden_prompts
from graft_trainer.judging.probes import probes_of
from graft_trainer.methods import principal_weights
from graft_trainer.methods.adapters import attach_adapter
from graft_trainer.methods.table import METHODS
from graft_trainer.methods.warm_start import begin_with_version
from graft_trainer.outcome import Outcome
from graft_trainer.preferences.reference import (
    InitialModel,
    LoadedVersion,
    Reference,
    initial_model_of,
    needs_initial_weights,
    restored_initial_model,
)
from graft_trainer.preferences.trainer import disable_dropout
from graft_trainer.preparation import Prepared, prepare
from graft_trainer.progress import ProgressWriter
from graft_trainer.publishing.merging import merge_adapter
from graft_trainer.publishing.publication import previous_version, publish
from graft_trainer.publishing.version import (
    TrainedAdapter,
    canonicalize_adapter_config,
    report_inputs,
    version_draft,
    write_documents,
)
from graft_trainer.run import Run
from graft_trainer.runtime import route_transformers_logging
from graft_trainer.training.checkpoint import RunCheckpoints, save_adapter_weights
from graft_trainer.training.loop import FinishedTraining, RunTrainer
from graft_trainer.workers.distributed import free_memory
from graft_trainer.workers.sharding import check_sharding, shard_base


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
    """Wait for the first worker, which judges and publishes: a pod that has ended can't be restarted with it."""
    return run.workers.await_outcome(lambda: run.notice.stop_if_requested(step=training.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    trainable: int
    total: int
    trained_on: str


def _train(run: Run, prepared: Prepared, progress: ProgressWriter) -> tuple[FinishedTraining, _Parameters]:
    """Train the adapter, from the run's newest checkpoint if there is one, and return what came of it."""
    config, method = run.config, METHODS[run.config.method]
    dtype = model.compute_dtype(config.base.path, config.training.precision)
    if config.workers.sharded:
        check_sharding(config.method)
    checkpoints = RunCheckpoints(run.checkpoints, run.work_folder / "checkpoints", run.workers)
    trainable_model, resumed = _load(run, prepared, checkpoints, dtype)
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
    rows, eval_rows = prepared.rows.training.rows, prepared.rows.evaluation.rows
    training = trainer.train(trainable_model, prepared.renderer.tokenizer, rows, eval_rows, resumed=resumed)
    if method.initialization == "PrincipalWeights" and run.workers.is_first:
        principal_weights.convert_to_lora(trainable_model, training.adapter, checkpoints.initial_adapter)
    return training, _Parameters(trainable=trainable, total=total, trained_on=model.trained_on(dtype, method))


def _load(
    run: Run, prepared: Prepared, checkpoints: RunCheckpoints, dtype: torch.dtype
) -> tuple[PeftModel, Path | None]:
    """Load the base and attach the adapter: fresh, warm-started, or as in the newest checkpoint.

    Return the model, and the folder of the restored checkpoint; None where there is none.
    """
    config = run.config
    frozen = model.load_base(
        config.base.path,
        dtype=dtype,
        method=METHODS[config.method],
        context=run.context,
        sharded=config.workers.sharded,
    )
    resumed = checkpoints.restore()
    rows, targets = prepared.rows.training.rows, prepared.plan.target_modules
    adapted = attach_adapter(frozen, config, targets, rows=rows, checkpoints=checkpoints, resumed=resumed)
    if config.warm_start is not None and resumed is None:
        begin_with_version(
            adapted, config.warm_start, run.registry, run.work_folder, objective=config.training.objective
        )
    return adapted, resumed


def _reference(run: Run, trained: PeftModel, checkpoints: RunCheckpoints, resumed: Path | None) -> Reference | None:
    """Return the reference model of preference learning; None for SFT."""
    if run.config.training.objective == "SFT":
        return None
    disable_dropout(trained)
    warm = run.config.warm_start is not None
    if not needs_initial_weights(METHODS[run.config.method], warm=warm):
        return InitialModel(trained)
    if resumed is not None:
        return restored_initial_model(trained, checkpoints.initial_adapter)
    if warm and run.workers.is_first:
        save_adapter_weights(trained, checkpoints.initial_adapter)
    return initial_model_of(trained)


def _assess(run: Run, prepared: Prepared, training: FinishedTraining, parameters: _Parameters) -> TrainedAdapter:
    """Judge the trained adapter, and merge it where it is served merged."""
    tokenizer = prepared.renderer.tokenizer
    judged = _judge(run, prepared, training)
    return TrainedAdapter(
        base=run.base,
        rows=prepared.rows,
        training=training,
        judged=judged,
        golden=golden_prompts(judged.comparison, tokenizer),
        probes=probes_of(judged.comparison.questions, tokenizer),
        merge=_merge(run, prepared.rows.asked.rows, training),
        plan=prepared.plan,
        trained_on=parameters.trained_on,
        trainable_parameters=parameters.trainable,
        all_parameters=parameters.total,
    )


def _judge(run: Run, prepared: Prepared, training: FinishedTraining) -> Assessment:
    """Score the adapter's files on the serving base; the model that was trained is gone by now."""
    adapted = load_served(run.config.base.path, training.adapter, run.context)
    reference: Reference = InitialModel(adapted)
    if run.config.warm_start is not None and run.config.training.objective != "SFT":
        reference = LoadedVersion(adapted, training.adapter, training.initial_adapter)
    evaluation = run.config.evaluation
    return assess(
        adapted,
        run.config,
        prepared.renderer,
        prepared.rows.evaluation,
        questions_of(
            evaluation.probes, prepared.rows.asked.examples, prepared.renderer, limit=evaluation.max_probe_rows
        ),
        reference=reference,
        stop=partial(run.notice.stop_if_requested, step=training.steps),
        context=run.context,
    )


def _merge(run: Run, rows: Sequence[Row], training: FinishedTraining) -> MergeRecord | None:
    """Add the merged model to the version's files, where it is to be served merged."""
    if run.config.serving.mode != "Merged":
        return None
    free_memory()
    return merge_adapter(run.base, run.config.base.path, training.adapter, rows, context=run.context)


def _publish(run: Run, adapter: TrainedAdapter, progress: ProgressWriter) -> Outcome:
    draft, folder = version_draft(run.config, adapter), adapter.training.adapter
    write_documents(draft, folder, report_inputs(adapter, previous=previous_version(run), progress=progress))
    return publish(run, draft, folder, step=adapter.training.steps)
