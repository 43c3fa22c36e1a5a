"""Makes the finished adapter a version of the registry."""

from __future__ import annotations

import importlib.metadata
import json
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from graft_registry.documents import (
    AdapterShape,
    BaseManifest,
    BaseReference,
    DatasetRecord,
    GoldenPrompt,
    MergeRecord,
    Metrics,
    MixedSet,
    Probe,
    VersionDraft,
    VersionManifest,
    WarmStart,
)
from graft_trainer.config import RunConfig
from graft_trainer.judging.assessment import Assessment
from graft_trainer.judging.evaluation import Comparison
from graft_trainer.methods.rehearsal import AdapterPlan
from graft_trainer.progress import ProgressWriter
from graft_trainer.publishing.model_card import model_card
from graft_trainer.publishing.report import AnsweredQuestion, ReportInputs, report_page
from graft_trainer.row_files.kept import PreparedRows
from graft_trainer.training.checkpoint import ADAPTER_FILES
from graft_trainer.training.loop import FinishedTraining

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAdapter:
    """All that is known about an adapter when it is published."""

    base: BaseManifest
    rows: PreparedRows
    training: FinishedTraining
    judged: Assessment
    golden: tuple[GoldenPrompt, ...]
    probes: tuple[Probe, ...]
    merge: MergeRecord | None
    plan: AdapterPlan
    trained_on: str
    trainable_parameters: int
    all_parameters: int


def version_draft(config: RunConfig, adapter: TrainedAdapter) -> VersionDraft:
    """Describe the version: where it comes from, how it was made and how good it is."""
    adapter_config = json.loads((adapter.training.adapter / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    return VersionDraft(
        namespace=config.namespace,
        adapter=config.adapter,
        recipe=config.recipe,
        reason=config.reason,
        parent=config.parent,
        warm_start=_warm_start(config),
        uid=config.uid,
        generation=config.generation,
        base=base_reference(adapter.base),
        dataset=dataset_record(adapter.rows),
        objective=config.training.objective,
        method=config.method,
        trained_on=adapter.trained_on,
        servable=adapter.plan.servable,
        hyperparameters={
            "lora": config.lora.model_dump(mode="json", by_alias=True),
            "promptTuning": config.prompt_tuning.model_dump(mode="json", by_alias=True),
            "training": _training(config),
        },
        seed=config.training.seed,
        shape=adapter_shape(
            adapter_config,
            trainable=adapter.trainable_parameters,
            total=adapter.all_parameters,
            adapted_share=adapter.plan.adapted_share,
        ),
        libraries=libraries(),
        image=config.image,
        metrics=metrics_of(adapter.training, adapter.judged),
        golden=adapter.golden,
        probes=adapter.probes,
        merge=adapter.merge,
    )


def adapter_shape(
    adapter_config: dict[str, Any], *, trainable: int, total: int, adapted_share: float | None = None
) -> AdapterShape:
    """Read the shape from PEFT's configuration: what was published may have other ranks than were asked for.

    ``rank`` is the highest of any module, which a server has to have room for; 0 where the method has none.
    """
    return AdapterShape(
        rank=max((adapter_config.get("r", 0), *adapter_config.get("rank_pattern", {}).values())),
        alpha=adapter_config.get("lora_alpha", 0),
        target_modules=tuple(adapter_config.get("target_modules") or ()),
        trainable_parameters=trainable,
        all_parameters=total,
        adapted_share=adapted_share,
    )


def metrics_of(training: FinishedTraining, judged: Assessment) -> Metrics:
    """Gather the figures of a version that was trained."""
    return scores_of(judged).model_copy(
        update={
            "train_loss": training.train_loss,
            "late_improvement": training.late_improvement,
            "steps": training.steps,
            "epochs": round(training.epochs, 4),
            "train_seconds": round(training.train_seconds, 3),
            "tokens_per_second": round(training.tokens / training.train_seconds, 1),
        }
    )


def scores_of(judged: Assessment) -> Metrics:
    """Gather what was measured on rows; of a version that has learned preferences, the objective's losses."""
    comparison, preference = judged.comparison, judged.preference
    return Metrics(
        eval_loss=preference.loss if preference else comparison.adapter.loss,
        base_eval_loss=preference.reference_loss if preference else comparison.base.loss,
        preference_accuracy=preference.accuracy if preference else None,
        exact_match=comparison.adapter.exact_match,
        base_exact_match=comparison.base.exact_match,
        perplexity=comparison.adapter.perplexity,
        base_perplexity=comparison.base.perplexity,
        peak_memory_bytes=peak_memory_bytes(),
    )


def libraries() -> dict[str, str]:
    """Return the releases of what made or judged the version."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def canonicalize_adapter_config(path: Path, base: BaseManifest) -> None:
    """Rewrite PEFT's configuration so that equal adapters have equal bytes.

    PEFT keeps the names of modules as sets, whose order changes from process to process, and records the local path
    of the base, which means nothing elsewhere.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("target_modules", "feedforward_modules", "modules_to_save"):
        if config.get(name):
            config[name] = sorted(config[name])
    config["base_model_name_or_path"] = f"{base.name}@{base.digest}"
    config["revision"] = base.revision
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def report_inputs(
    adapter: TrainedAdapter, *, previous: VersionManifest | None, progress: ProgressWriter
) -> ReportInputs:
    """Gather what a report tells of a training; ``previous`` is what the version is compared with."""
    return ReportInputs(
        previous=previous,
        history=adapter.training.history,
        samples=adapter.rows.training.samples,
        answers=answered_questions(adapter.judged.comparison),
        seconds={
            "loading the base and rendering the rows": progress.seconds_in("Loading"),
            "training, in all pods of the run": adapter.training.train_seconds,
            "evaluation": progress.seconds_in("Evaluating"),
        },
    )


def write_documents(draft: VersionDraft, folder: Path, inputs: ReportInputs) -> None:
    """Write the version's model card and report beside its files."""
    (folder / "README.md").write_text(model_card(draft, inputs.previous), encoding="utf-8")
    (folder / "report.html").write_text(report_page(draft, inputs), encoding="utf-8")


def answered_questions(comparison: Comparison) -> tuple[AnsweredQuestion, ...]:
    """Put the answers of adapter and base side by side."""
    answers = zip(comparison.questions, comparison.adapter.answers, comparison.base.answers, strict=True)
    return tuple(
        AnsweredQuestion(asked.prompt, asked.expected or "", own.text, base.text) for asked, own, base in answers
    )


def peak_memory_bytes() -> int:
    """Return the most memory in use so far: the GPU's where there is one, else this process's resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def base_reference(base: BaseManifest) -> BaseReference:
    """Name the base that a version belongs to, with what it can be told by."""
    return BaseReference(
        name=base.name,
        revision=base.revision,
        digest=base.digest,
        source=base.source,
        chat_template_digest=base.fingerprint.chat_template_digest,
        tokenizer_digest=base.fingerprint.tokenizer_digest,
    )


def _training(config: RunConfig) -> dict[str, Any]:
    """Return the hyperparameters of the optimisation, without those that its objective does not look at."""
    chosen = config.training.model_dump(mode="json", by_alias=True)
    if config.training.objective == "SFT":
        del chosen["preference"]
    return chosen


def _warm_start(config: RunConfig) -> WarmStart | None:
    start = config.warm_start
    return None if start is None else WarmStart(number=start.number, manifest_digest=start.manifest_digest)


def dataset_record(rows: PreparedRows) -> DatasetRecord:
    """Count the rows, and name them."""
    dataset, training, evaluation = rows.dataset, rows.training, rows.evaluation
    dropped = dataset.dropped + training.dropped + evaluation.dropped
    return DatasetRecord(
        uri=dataset.uri,
        digest=dataset.digest,
        eval_digest=dataset.evaluation_digest,
        rows=len(training.rows),
        eval_rows=len(evaluation.rows),
        dropped=dropped.total,
        dropped_by_reason=dropped.by_reason(),
        leaked=dataset.leaked,
        unused_keys=dataset.unused,
        sets=tuple(
            MixedSet(uri=one.uri, digest=one.digest, weight=f"{one.weight:g}", rows=one.rows, usable=one.usable)
            for one in dataset.sets
        ),
        truncated=training.truncated + evaluation.truncated,
        fully_masked=training.fully_masked + evaluation.fully_masked,
        masked_answers=training.masked_answers + evaluation.masked_answers,
        answers=training.unknown.answers + evaluation.unknown.answers,
        unknown_answers=training.unknown.unknown + evaluation.unknown.unknown,
    )
