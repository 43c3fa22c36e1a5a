"""The run document: what the operator writes is what the trainer reads (docs/contracts.md §4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, digest, resolved_base

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.training_job import run_document
from graft_trainer.config import RunConfig, read_run_config

SPECS: dict[str, dict[str, Any]] = {
    "the shortest spec": {},
    "every hyperparameter is set": {
        "method": "QLoRA",
        "lora": {"rank": 64, "alpha": 16, "dropout": "0", "targetModules": ["all-linear"]},
        "training": {
            "epochs": 1,
            "maxSteps": 10,
            "batchSize": 1,
            "gradientAccumulation": 16,
            "learningRate": "1E-5",
            "schedule": "Linear",
            "warmupRatio": "0",
            "weightDecay": "0.1",
            "maxGradNorm": "0.3",
            "maxSequenceLength": 8,
            "seed": 2_147_483_647,
            "precision": "BFloat16",
            "evalSteps": 1,
            "earlyStoppingPatience": 1,
            "checkpointSeconds": 1,
            "deadlineSeconds": 60,
        },
    },
    "rows in a ConfigMap": {"dataset": {"configMap": {"name": "rows", "key": "train.jsonl"}, "format": "Messages"}},
    "rows on a volume, evaluation rows in S3": {
        "dataset": {
            "persistentVolumeClaim": {"claimName": "data", "path": "sets/train.jsonl"},
            "evaluation": {"s3": {"uri": "s3://data/eval.jsonl"}},
        }
    },
    "half of the rows are held out": {"dataset": {"s3": {"uri": "s3://data/x.jsonl"}, "evaluationPercent": 50}},
    "probes": {"evaluation": {"probes": [{"prompt": "2+2?", "expected": "4"}]}},
    "rank-stabilised": {"method": "RsLoRA"},
}


def document(subject: LoraAdapter, **fields: Any) -> dict[str, Any]:
    given = {"recipe": digest("recipe"), "reason": "SpecChanged", "dataset_digest": None} | fields
    return run_document(subject, resolved_base(), platform=PLATFORM, **given)


def read(tmp_path: Path, written: dict[str, Any]) -> RunConfig:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(written))
    return read_run_config(path)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_trainer_reads_every_run_that_the_operator_writes(spec: dict[str, Any], tmp_path: Path) -> None:
    subject = adapter(**spec)
    config = read(tmp_path, document(subject))
    training, lora = subject.spec.training, subject.spec.lora
    assert config.adapter == subject.metadata.name
    assert config.lora.alpha == lora.effective_alpha
    assert config.lora.target_modules == list(lora.target_modules)
    assert config.training.learning_rate == float(training.learning_rate)
    assert config.training.max_steps == training.max_steps
    assert config.training.early_stopping_patience == training.early_stopping_patience
    assert len(config.evaluation.probes) == len(subject.spec.evaluation.probes)
    assert (config.dataset.evaluation.source is None) == (subject.spec.dataset.evaluation is None)


@pytest.mark.parametrize("reason", ["SpecChanged", "BaseModelChanged"])
def test_the_trainer_knows_every_reason(reason: str, tmp_path: Path) -> None:
    assert read(tmp_path, document(adapter(), reason=reason)).reason == reason


def test_a_mounted_file_is_where_the_pod_mounts_it(tmp_path: Path) -> None:
    spec = SPECS["rows in a ConfigMap"]
    config = read(tmp_path, document(adapter(**spec), dataset_digest=digest("rows")))
    assert config.dataset.source.file is not None
    assert str(config.dataset.source.file.path) == "/data/train.jsonl"
    assert config.dataset.digest == digest("rows")
