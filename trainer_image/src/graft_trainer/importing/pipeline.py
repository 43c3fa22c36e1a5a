"""The heavy part of an import, in its order: fit to the base, judge, merge, publish. Nothing is trained."""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path

from peft import PeftModel

from graft_registry.documents import MergeRecord
from graft_trainer import model
from graft_trainer.data.rendering import Renderer
from graft_trainer.importing.attaching import attach, place
from graft_trainer.importing.prompts import answered_rows, questions_for, sampled_questions
from graft_trainer.judging.assessment import Assessment, assess
from graft_trainer.judging.evaluation import Comparison
from graft_trainer.judging.golden import golden_prompts
from graft_trainer.judging.probes import probes_of
from graft_trainer.outcome import InvalidSourceError, Outcome
from graft_trainer.preferences.reference import InitialModel
from graft_trainer.preparation import render, renderer_of
from graft_trainer.publishing.imported_version import ImportedAdapter, import_report_inputs, imported_draft
from graft_trainer.publishing.merging import merge_adapter
from graft_trainer.publishing.model_card import base_of_another_name
from graft_trainer.publishing.publication import previous_version, publish
from graft_trainer.publishing.version import base_reference, write_documents
from graft_trainer.row_files.kept import PreparedRows
from graft_trainer.run import ImportRun
from graft_trainer.runtime import route_transformers_logging
from graft_trainer.workers.distributed import free_memory

logger = logging.getLogger(__name__)


def import_and_publish(run: ImportRun) -> Outcome:
    """Fit the adapter to the base, judge it beside the base, and publish it.

    Raises TrainingError (InvalidSourceError, BaseMismatchError, InvalidConfigError, BadDatasetError, PreemptedError)
    and the registry's errors.
    """
    route_transformers_logging()
    if named := base_of_another_name(base_reference(run.base), run.adapter.provenance):
        logger.warning("the adapter calls its base %s; this one comes from elsewhere, and fits by its shapes", named)
    placed = place(run.adapter, run.base, run.config.base.path)
    renderer = renderer_of(run, model.load_tokenizer(run.config.base.path))
    rows = render(run, run.rows, renderer) if run.rows else None
    adapted, files = attach(run, placed)
    run.notice.stop_if_requested()

    run.progress.enter("Evaluating", rows=None)
    judged = _judge(run, adapted, renderer, rows)
    # Merging loads the base once more.
    del adapted
    free_memory()
    imported = ImportedAdapter(
        base=run.base,
        provenance=run.adapter.provenance,
        folder=files.folder,
        method=run.adapter.settings.method,
        servable=files.servable,
        rows=rows,
        judged=judged,
        golden=golden_prompts(judged.comparison, renderer.tokenizer),
        probes=probes_of(judged.comparison.questions, renderer.tokenizer),
        merge=_merge(run, files.folder, judged.comparison),
        parameters=files.parameters,
        all_parameters=placed.layers.total + files.parameters,
        adapted_share=placed.adapted_share,
    )
    run.notice.stop_if_requested()
    return _publish(run, imported)


def _judge(run: ImportRun, adapted: PeftModel, renderer: Renderer, rows: PreparedRows | None) -> Assessment:
    """Ask adapter and base what the spec gives; where they answer all of it alike, also what the base makes up.

    Raises InvalidSourceError where nothing tells the two apart, or the adapter calculates nothing.
    """
    score = partial(
        assess,
        adapted,
        run.config,
        renderer,
        rows.evaluation if rows else None,
        reference=InitialModel(adapted),
        stop=run.notice.stop_if_requested,
    )
    questions = questions_for(run.config.evaluation, rows.asked.examples if rows else (), renderer)
    if questions:
        judged = score(questions)
        check_answers(judged.comparison)
        if golden_prompts(judged.comparison, renderer.tokenizer):
            return judged
    questions += sampled_questions(adapted, renderer, seed=run.config.training.seed)
    if questions:
        judged = score(questions)
        check_answers(judged.comparison)
        if golden_prompts(judged.comparison, renderer.tokenizer):
            return judged
    raise InvalidSourceError(
        f"NoEffect: the adapter answers none of {len(questions)} prompts otherwise than the base, so nothing could "
        "ever prove that it is applied; give spec.evaluation.prompts that it answers in its own way, or a dataset",
        field="spec.evaluation.prompts",
    )


def check_answers(comparison: Comparison) -> None:
    """Refuse an adapter with which the base's numbers overflow: finite matrices can be scaled beyond all of them.

    Raises InvalidSourceError.
    """
    for question, answer, base in zip(
        comparison.questions, comparison.adapter.answers, comparison.base.answers, strict=True
    ):
        if not all(map(math.isfinite, answer.margins)) and all(map(math.isfinite, base.margins)):
            raise InvalidSourceError(
                f"with the adapter the base calculates no numbers (NaN or infinite) for {question.prompt[:100]!r}: "
                "give the lora_alpha in adapter_config.json that it was trained with, or an earlier checkpoint"
            )


def _merge(run: ImportRun, folder: Path, comparison: Comparison) -> MergeRecord | None:
    """Add the merged model to the version's files, where it is to be served merged."""
    if run.config.serving.mode != "Merged":
        return None
    rows = answered_rows(comparison.questions, comparison.adapter.answers)
    return merge_adapter(run.base, run.config.base.path, folder, rows)


def _publish(run: ImportRun, imported: ImportedAdapter) -> Outcome:
    run.progress.enter("Publishing")
    draft = imported_draft(run.config, imported)
    inputs = import_report_inputs(imported, previous=previous_version(run), progress=run.progress)
    write_documents(draft, imported.folder, inputs)
    return publish(run, draft, imported.folder)
