"""Makes an imported adapter a version of the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from graft_registry.documents import (
    BaseManifest,
    GoldenPrompt,
    ImportedFrom,
    MergeRecord,
    Probe,
    Servable,
    VersionDraft,
    VersionManifest,
)
from graft_trainer.config import RunConfig
from graft_trainer.data.dataset import Dataset
from graft_trainer.judging.assessment import Assessment
from graft_trainer.preparation import RenderedParts
from graft_trainer.publishing.report import ReportInputs
from graft_trainer.publishing.version import (
    adapter_shape,
    answered_questions,
    base_reference,
    dataset_record,
    libraries,
    scores_of,
)
from graft_trainer.training.checkpoint import ADAPTER_FILES
from graft_trainer.training.history import TrainingHistory
from graft_trainer.training.progress import ProgressWriter

SHOWN = (
    "r",
    "lora_alpha",
    "lora_dropout",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "use_rslora",
    "use_dora",
)
"""Fields of PEFT's configuration that are told as hyperparameters: all that is known of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedAdapter:
    """All that is known about an imported adapter when it is published."""

    base: BaseManifest
    provenance: ImportedFrom
    folder: Path
    method: str
    servable: Servable
    dataset: Dataset | None
    rows: RenderedParts | None
    judged: Assessment
    golden: tuple[GoldenPrompt, ...]
    probes: tuple[Probe, ...]
    merge: MergeRecord | None
    parameters: int
    """Of the adapter."""
    all_parameters: int
    adapted_share: float


def imported_draft(config: RunConfig, adapter: ImportedAdapter) -> VersionDraft:
    """Describe the version: where it comes from and how good it is. How it was trained is mostly not known."""
    settings = json.loads((adapter.folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    rows = adapter.rows
    record = None if adapter.dataset is None or rows is None else dataset_record(adapter.dataset, rows)
    return VersionDraft(
        namespace=config.namespace,
        adapter=config.adapter,
        recipe=config.recipe,
        reason="Imported",
        parent=config.parent,
        imported=adapter.provenance,
        uid=config.uid,
        generation=config.generation,
        base=base_reference(adapter.base),
        dataset=record.model_copy(update={"rows": 0}) if record else None,
        objective=config.training.objective if record else "SFT",
        method=adapter.method,
        trained_on=None,
        servable=adapter.servable,
        hyperparameters={"lora": {name: settings[name] for name in SHOWN if settings.get(name)}},
        seed=config.training.seed,
        shape=adapter_shape(
            settings,
            trainable=adapter.parameters,
            total=adapter.all_parameters,
            adapted_share=adapter.adapted_share,
        ),
        libraries=libraries(),
        image=config.image,
        metrics=scores_of(adapter.judged),
        golden=adapter.golden,
        probes=adapter.probes,
        merge=adapter.merge,
    )


def import_report_inputs(
    adapter: ImportedAdapter, *, previous: VersionManifest | None, progress: ProgressWriter
) -> ReportInputs:
    """Gather what a report tells of an import: there is no course of a training."""
    return ReportInputs(
        previous=previous,
        history=TrainingHistory(loss=(), learning_rate=(), evaluation_loss=()),
        samples=(),
        answers=answered_questions(adapter.judged.comparison),
        seconds={
            "reading the adapter and rendering the rows": progress.seconds_in("Loading"),
            "evaluation": progress.seconds_in("Evaluating"),
        },
    )
