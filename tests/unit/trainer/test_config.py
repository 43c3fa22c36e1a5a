"""The run document is strict: what it does not know, it refuses by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from graft_trainer.config import RunConfig, read_run_config
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.spelled_values import parse_number_string

DOCUMENT: dict[str, Any] = {
    "schema": "graft.dev/run/v1",
    "namespace": "team-a",
    "adapter": "support",
    "uid": "u",
    "generation": 3,
    "recipe": "sha256:" + "a" * 64,
    "reason": "SpecChanged",
    "parent": 6,
    "image": "trainer@sha256:1",
    "registry": {
        "endpoint": "http://s3",
        "bucket": "graft",
        "prefix": "",
        "region": "us-east-1",
        "forcePathStyle": True,
    },
    "base": {"name": "tiny", "digest": "sha256:" + "b" * 64, "path": "/base"},
    "dataset": {
        "source": {"s3": {"uri": "s3://data/x.jsonl"}},
        "format": "Auto",
        "digest": None,
        "evaluation": {"splitPercent": 5, "source": None},
    },
    "method": "LoRA",
    "lora": {"rank": 16, "alpha": 32, "dropout": "0.05", "targetModules": ["q_proj"], "bias": "None"},
    "training": {
        "epochs": 3,
        "maxSteps": None,
        "batchSize": 4,
        "gradientAccumulation": 4,
        "learningRate": "2e-4",
        "schedule": "Cosine",
        "warmupRatio": "0.03",
        "weightDecay": "0.0",
        "maxGradNorm": "1.0",
        "maxSequenceLength": 512,
        "packing": False,
        "seed": 42,
        "precision": "Auto",
        "evalSteps": 100,
        "earlyStoppingPatience": None,
        "checkpointSeconds": 300,
        "loggingSteps": 10,
        "gradientCheckpointing": False,
    },
    "evaluation": {"probes": [{"prompt": "q", "expected": "a"}], "maxProbeRows": 64},
}


def read(document: Any, folder: Path) -> RunConfig:
    path = folder / "run.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_run_config(path)


def test_reads_the_documented_example(tmp_path: Path) -> None:
    config = read(DOCUMENT, tmp_path)
    assert config.training.learning_rate == 2e-4
    assert config.lora.target_modules == ["q_proj"]
    assert config.base.path == Path("/base")
    assert config.evaluation.probes[0].expected == "a"


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        (("training", "learningRat"), "2e-4", "spec.training.learningRat", "unknown key"),
        (("training", "learningRate"), 2e-4, "spec.training.learningRate", "must be a number in quotes"),
        (("training", "learningRate"), "fast", "spec.training.learningRate", "must be a number in quotes"),
        (("training", "learningRate"), "0", "spec.training.learningRate", "greater than 0"),
        (("training", "epochs"), "3", "spec.training.epochs", "valid integer"),
        (("training", "warmupRatio"), "1.5", "spec.training.warmupRatio", "less than or equal to 1"),
        (("training", "packing"), "yes", "spec.training.packing", "valid boolean"),
        (("training", "attentionGroupSize"), 255, "spec.training.attentionGroupSize", "multiple of 2"),
        (("dataset", "fileType"), "XLSX", "spec.dataset.fileType", "'JSONL', 'JSON', 'Parquet' or 'CSV'"),
        (("dataset", "maxDroppedPercent"), 101, "spec.dataset.maxDroppedPercent", "less than or equal to 100"),
        (("lora", "rank"), 0, "spec.lora.rank", "greater than or equal to 1"),
        (("lora", "targetModules"), [], "spec.lora.targetModules", "at least 1 item"),
        (("method",), "AdaLoRA", "spec.method", "'LoRA', 'QLoRA'"),
        (("lora", "rankPattern"), {"q_proj": 0}, "spec.lora.rankPattern.q_proj", "greater than or equal to 1"),
        (("lora", "learningRateRatio"), "0.5", "spec.lora.learningRateRatio", "greater than or equal to 1"),
        (("promptTuning",), {"virtualTokens": 0}, "spec.promptTuning.virtualTokens", "greater than or equal to 1"),
        (("dataset", "source"), {}, "spec.dataset.source", "set exactly one of s3, file and huggingFace"),
        (("schema",), "graft.dev/run/v2", "spec.schema", "graft.dev/run/v1"),
        (("evaluation", "probes"), [{"prompt": "q"}], "spec.evaluation.probes[0].expected", "Field required"),
    ],
)
def test_names_the_field_that_is_wrong(
    tmp_path: Path, path: tuple[str, ...], value: Any, field: str, message: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(InvalidConfigError) as error:
        read(document, tmp_path)
    assert error.value.field == field
    assert message in str(error.value)


def test_a_document_that_is_no_json_or_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="Invalid JSON"):
        read("{", tmp_path)
    with pytest.raises(InvalidConfigError, match="cannot read the run document"):
        read_run_config(tmp_path / "absent.json")


@pytest.mark.parametrize(("text", "number"), [("2e-4", 2e-4), ("0.05", 0.05), ("1E+2", 100.0), ("3", 3.0)])
def test_number_strings(text: str, number: float) -> None:
    assert parse_number_string(text) == number


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e", " 1", "1_0", ".5", "", None, True])
def test_what_is_no_number_string(value: object) -> None:
    with pytest.raises(ValueError, match="number in quotes"):
        parse_number_string(value)
