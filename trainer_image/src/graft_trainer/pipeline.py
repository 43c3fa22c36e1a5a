"""The heavy part of a run, in its order: render, train, judge, publish."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from graft_registry.checkpoints import CheckpointStore
from graft_registry.documents import BaseManifest
from graft_registry.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_trainer import model
from graft_trainer.checkpoint import RunCheckpoints
from graft_trainer.config import RunConfig
from graft_trainer.dataset import Dataset
from graft_trainer.evaluation import Comparison, compare, questions_of
from graft_trainer.golden import golden_prompts
from graft_trainer.methods import METHODS
from graft_trainer.outcome import Outcome, Reason
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.progress import ProgressWriter
from graft_trainer.publishing import (
    TrainedAdapter,
    canonicalize_adapter_config,
    model_card,
    version_draft,
)
from graft_trainer.rendering import RenderedRows, render_rows
from graft_trainer.runtime import route_transformers_logging
from graft_trainer.training import FinishedTraining, RunTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run whose inputs passed every cheap check."""

    config: RunConfig
    base: BaseManifest
    dataset: Dataset
    store: ObjectStore
    registry: AdapterRegistry
    work_folder: Path
    notice: PreemptionNotice

    def checkpoints(self) -> CheckpointStore:
        """Return where this recipe's checkpoints are stored."""
        return CheckpointStore(self.store, self.config.namespace, self.config.adapter, self.config.recipe)


def train_and_publish(run: Run) -> Outcome:
    """Train the adapter, judge it and publish it.

    Raises TrainingError (BadDatasetError, InvalidConfigError, DivergedError, PreemptedError) and the registry's errors.
    """
    route_transformers_logging()
    config = run.config
    progress = ProgressWriter(run.registry, config.recipe)
    progress.enter("Loading")
    tokenizer = model.load_tokenizer(config.base.path)
    max_length = config.training.max_sequence_length
    training_rows = render_rows(run.dataset.training, tokenizer, max_length=max_length)
    evaluation_rows = render_rows(run.dataset.evaluation, tokenizer, max_length=max_length)

    training, parameters = _train(run, tokenizer, training_rows, evaluation_rows, progress)
    canonicalize_adapter_config(training.adapter / "adapter_config.json", run.base)
    run.notice.stop_if_requested(step=training.steps)

    progress.enter("Evaluating", step=training.steps, epoch=training.epochs, eta_seconds=None)
    comparison = _judge(run, tokenizer, evaluation_rows, training)
    adapter = TrainedAdapter(
        base=run.base,
        dataset=run.dataset,
        training_rows=training_rows,
        evaluation_rows=evaluation_rows,
        training=training,
        comparison=comparison,
        golden=golden_prompts(comparison, tokenizer),
        trained_on=parameters.trained_on,
        trainable_parameters=parameters.trainable,
        all_parameters=parameters.total,
    )
    progress.enter("Publishing")
    return _publish(run, adapter, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    trainable: int
    total: int
    trained_on: str


def _train(
    run: Run,
    tokenizer: PreTrainedTokenizerBase,
    rows: RenderedRows,
    evaluation_rows: RenderedRows,
    progress: ProgressWriter,
) -> tuple[FinishedTraining, _Parameters]:
    config, method = run.config, METHODS[run.config.method]
    dtype = model.compute_dtype(config.base.path, config.training.precision)
    frozen = model.load_base(config.base.path, dtype=dtype, method=method)
    trainable_model = model.attach_adapter(frozen, config)
    trainable, total = model.count_parameters(trainable_model)
    run.notice.stop_if_requested()
    checkpoints = RunCheckpoints(run.checkpoints(), run.work_folder / "checkpoints")
    trainer = RunTrainer(config.training, method, checkpoints, progress, run.notice)
    training = trainer.train(trainable_model, tokenizer, rows.rows, evaluation_rows.rows)
    return training, _Parameters(trainable=trainable, total=total, trained_on=model.trained_on(dtype, method))


def _judge(run: Run, tokenizer: PreTrainedTokenizerBase, rows: RenderedRows, training: FinishedTraining) -> Comparison:
    """Score the adapter's files on the serving base; the model that was trained is gone by now."""
    gc.collect()
    torch.cuda.empty_cache()
    path = run.config.base.path
    serving_base = model.load_base(path, dtype=model.compute_dtype(path, "Auto"))
    adapted = PeftModel.from_pretrained(serving_base, training.adapter)
    # Without held-out rows the questions come from the training rows: they can still prove that the adapter is applied.
    examples = run.dataset.evaluation or run.dataset.training
    evaluation = run.config.evaluation
    questions = questions_of(evaluation.probes, examples, tokenizer, limit=evaluation.max_probe_rows)
    comparison = compare(
        adapted,
        tokenizer,
        rows.rows,
        questions,
        between_batches=lambda: run.notice.stop_if_requested(step=training.steps),
    )
    for name, scores in (("adapter", comparison.adapter), ("base", comparison.base)):
        logger.info("%s: loss %s, exact match %s", name, scores.loss, scores.exact_match)
    return comparison


def _publish(run: Run, adapter: TrainedAdapter, progress: ProgressWriter) -> Outcome:
    draft = version_draft(run.config, adapter)
    (adapter.training.adapter / "README.md").write_text(model_card(draft), encoding="utf-8")
    stored = run.registry.publish(draft, adapter.training.adapter)
    number, digest = stored.manifest.number, stored.digest
    progress.enter("Published", number=number, manifest_digest=digest)
    run.checkpoints().clear()
    message = f"published version {number} with {len(adapter.golden)} golden prompts"
    logger.info("%s: %s", message, digest)
    return Outcome(
        reason=Reason.PUBLISHED,
        message=message,
        number=number,
        manifest_digest=digest,
        step=adapter.training.steps,
    )
