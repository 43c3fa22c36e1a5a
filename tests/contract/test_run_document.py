"""The run document: what the operator writes is what the trainer reads (docs/contracts.md §4)."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, digest, resolved_base

from graft_operator.api.adapter_status import WarmStart
from graft_operator.api.dataset import COLUMNS
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import NOT_SERVED, SERVED_MERGED_ONLY
from graft_operator.manifests.jobs.dataset import dataset_volumes
from graft_operator.manifests.jobs.training_job import run_document
from graft_trainer.config import RunConfig, read_run_config
from graft_trainer.data import formats
from graft_trainer.data.formats import LABELS, PREFERENCES
from graft_trainer.data.preferences import ASKS
from graft_trainer.data.turns import REASONING
from graft_trainer.methods.table import METHODS

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
            "packing": True,
            "trainOnInputs": True,
            "seed": 2_147_483_647,
            "precision": "BFloat16",
            "evalSteps": 1,
            "earlyStoppingPatience": 1,
            "gradientCheckpointing": True,
            "checkpointSeconds": 1,
            "deadlineSeconds": 60,
            "rankDoubling": {"maxRank": 128},
        },
    },
    "rows in a ConfigMap": {"dataset": {"configMap": {"name": "rows", "key": "train.jsonl"}, "format": "Messages"}},
    "rows on a volume, evaluation rows in S3": {
        "dataset": {
            "persistentVolumeClaim": {"claimName": "data", "path": "sets/train.jsonl"},
            "evaluation": {"s3": {"uri": "s3://data/eval.jsonl"}},
        }
    },
    "a split of a dataset on a hub, a file of it for evaluation": {
        "dataset": {
            "huggingFace": {"repo": "team/rows", "revision": "v1", "split": "main/train", "endpoint": "http://hub.lan"},
            "evaluation": {"huggingFace": {"repo": "team/rows", "file": "main/test.parquet"}},
        }
    },
    "tables below a prefix, of which any may be bad": {
        "dataset": {
            "s3": {"uri": "s3://data/rows/"},
            "format": "Alpaca",
            "fileType": "CSV",
            "maxDroppedPercent": 100,
        }
    },
    "columns of one's own": {
        "dataset": {"s3": {"uri": "s3://data/x.jsonl"}, "columns": {"prompt": "asked", "completion": "said"}}
    },
    "three sets that are mixed": {
        "dataset": {
            "configMap": {"name": "rows", "key": "train.jsonl"},
            "weight": "0.7",
            "mix": [
                {"huggingFace": {"repo": "team/chat"}, "weight": "0.25", "format": "ShareGPT"},
                {
                    "persistentVolumeClaim": {"claimName": "data", "path": "old.csv"},
                    "weight": "0.05",
                    "fileType": "CSV",
                    "columns": {"prompt": "asked", "completion": "said"},
                },
            ],
        }
    },
    "half of the rows are held out": {"dataset": {"s3": {"uri": "s3://data/x.jsonl"}, "evaluationPercent": 50}},
    "probes": {"evaluation": {"probes": [{"prompt": "2+2?", "expected": "4"}]}},
    "rank-stabilised": {"method": "RsLoRA"},
    "sharded over two pods of four workers": {
        "pod": {"workers": {"nodes": 2, "processesPerNode": 4, "sharding": "FSDP"}}
    },
    "modules with ranks of their own": {"lora": {"rank": 8, "rankPattern": {"q_proj": 64, "layers.0.mlp.up_proj": 4}}},
    "LoRA+": {"method": "LoRAPlus", "lora": {"learningRateRatio": "8.5"}},
    "merged": {"method": "DoRA", "serving": {"mode": "Merged"}},
    "a longer context": {"method": "LongLoRA", "serving": {"mode": "Merged"}, "training": {"maxSequenceLength": 12}},
    "a longer context in groups of one's own": {
        "method": "LongLoRA",
        "serving": {"mode": "None"},
        "training": {"maxSequenceLength": 8192, "attentionGroupSize": 512},
    },
    "pairs": {"training": {"objective": "DPO", "preference": {"beta": "0.3"}}},
    "labelled answers, most of them unwanted": {
        "dataset": {"s3": {"uri": "s3://data/labels.jsonl"}, "format": "Messages"},
        "training": {"objective": "KTO", "preference": {"desirableWeight": "3", "undesirableWeight": "1.5"}},
    },
    "a trained prompt": {"method": "PromptTuning", "promptTuning": {"virtualTokens": 8}, "serving": {"mode": "None"}},
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
    assert config.lora.rank_pattern == lora.rank_pattern
    assert config.lora.learning_rate_ratio == float(lora.learning_rate_ratio)
    assert config.prompt_tuning.virtual_tokens == subject.spec.prompt_tuning.virtual_tokens
    assert config.serving.mode == subject.spec.serving.mode
    assert config.training.learning_rate == float(training.learning_rate)
    assert config.training.max_steps == training.max_steps
    assert config.training.attention_group_size == training.effective_attention_group_size
    assert config.training.packing == training.packing
    assert config.training.train_on_inputs == training.train_on_inputs
    assert config.training.objective == training.objective
    read_preference, preference = config.training.preference, training.preference
    assert read_preference.beta == float(preference.beta)
    assert read_preference.desirable_weight == float(preference.desirable_weight)
    assert read_preference.undesirable_weight == float(preference.undesirable_weight)
    assert config.training.early_stopping_patience == training.early_stopping_patience
    assert config.training.gradient_checkpointing == training.gradient_checkpointing
    assert config.workers.count == subject.spec.pod.worker_count
    assert config.workers.sharded == subject.spec.pod.is_sharded
    assert len(config.evaluation.probes) == len(subject.spec.evaluation.probes)
    dataset = subject.spec.dataset
    assert dataset is not None
    assert config.dataset is not None
    assert (config.dataset.format, config.dataset.file_type) == (dataset.format, dataset.file_type)
    assert config.dataset.columns == dataset.columns
    assert config.dataset.max_dropped_percent == dataset.max_dropped_percent
    assert (config.rows.evaluation.source is None) == (dataset.evaluation is None)
    assert config.dataset.weight == float(dataset.effective_weight)
    assert [(one.weight, one.format, one.file_type, one.columns) for one in config.dataset.mix] == [
        (float(one.weight), one.format, one.file_type, one.columns) for one in dataset.mix
    ]


@pytest.mark.parametrize(("alpha", "alphas"), [(None, {"q_proj": 128}), (16, {})])
def test_a_module_with_a_rank_of_its_own_keeps_the_scale(
    alpha: int | None, alphas: dict[str, int], tmp_path: Path
) -> None:
    """Twice its rank by default, as for all; the alpha that is given for all where there is one."""
    lora = {"rank": 8, "rankPattern": {"q_proj": 64}} | ({"alpha": alpha} if alpha else {})
    assert read(tmp_path, document(adapter(lora=lora))).lora.alpha_pattern == alphas


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_that_can_be_named_is_one_that_the_trainer_reads(name: str) -> None:
    pairs = {*ASKS, *PREFERENCES, *LABELS, *chain(*chain(*formats.ALIASES.values()))}
    beside = {*formats.TURNS, *formats.TOOLS, *formats.SYSTEM, *formats.EXTRA, *REASONING[:2], "history", "text"}
    assert name in pairs | beside


@pytest.mark.parametrize("method", METHODS)
def test_both_programs_know_what_can_be_served_of_a_method(method: str) -> None:
    expected = "Merged" if method in SERVED_MERGED_ONLY else "None" if method in NOT_SERVED else "MultiAdapter"
    assert METHODS[method].servable == expected


@pytest.mark.parametrize("reason", ["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled"])
def test_the_trainer_knows_every_reason(reason: str, tmp_path: Path) -> None:
    assert read(tmp_path, document(adapter(), reason=reason)).reason == reason


def test_a_mounted_file_is_where_the_pod_mounts_it(tmp_path: Path) -> None:
    spec = SPECS["rows in a ConfigMap"]
    digests = {"dataset_digest": digest("rows"), "evaluation_digest": digest("other rows")}
    config = read(tmp_path, document(adapter(**spec), **digests))
    assert config.rows.source.file is not None
    assert str(config.rows.source.file.path) == "/data/train.jsonl"
    assert (config.rows.digest, config.rows.evaluation.digest) == (digest("rows"), digest("other rows"))


def test_mixed_sets_are_where_the_pod_mounts_them_or_remote(tmp_path: Path) -> None:
    subject = adapter(**SPECS["three sets that are mixed"])
    remote, mounted = read(tmp_path, document(subject)).rows.mix
    assert remote.source.hugging_face is not None
    assert remote.source.hugging_face.repo == "team/chat"
    assert mounted.source.file is not None
    path = mounted.source.file.path
    assert str(path) == "/mix-data-1/old.csv"
    volumes = {volume["name"]: volume for volume in dataset_volumes(subject.spec.dataset)}
    assert volumes[path.parts[1]]["persistentVolumeClaim"] == {"claimName": "data", "readOnly": True}


def test_a_dataset_on_a_hub_is_named_as_it_is(tmp_path: Path) -> None:
    config = read(tmp_path, document(adapter(**SPECS["a split of a dataset on a hub, a file of it for evaluation"])))
    source, evaluation = config.rows.source.hugging_face, config.rows.evaluation.source
    assert source is not None
    assert (source.repo, source.revision, source.file, source.split) == ("team/rows", "v1", None, "main/train")
    assert source.endpoint == "http://hub.lan"
    assert evaluation is not None
    assert evaluation.hugging_face is not None
    assert (evaluation.hugging_face.file, evaluation.hugging_face.revision) == ("main/test.parquet", "main")


@pytest.mark.parametrize(
    ("training", "epochs", "steps", "rate"),
    [
        pytest.param({}, 1, None, 1e-4, id="one epoch at half the rate"),
        pytest.param({"maxSteps": 31, "learningRate": "3e-3"}, 1, 11, 1.5e-3, id="a third of the steps, rounded up"),
        pytest.param({"maxSteps": 1, "learningRate": "1E-10"}, 1, 1, 5e-11, id="never less than a step"),
    ],
)
def test_a_warm_start_names_its_version_and_trains_less(
    training: dict[str, Any], epochs: int, steps: int | None, rate: float, tmp_path: Path
) -> None:
    start = WarmStart(number=6, digest=digest("version 6"))
    config = read(tmp_path, document(adapter(training=training), warm_start=start))
    assert config.warm_start is not None
    assert (config.warm_start.number, config.warm_start.manifest_digest) == (start.number, start.digest)
    assert config.parent == start.number
    assert (config.training.epochs, config.training.max_steps) == (epochs, steps)
    assert config.training.learning_rate == rate


def test_what_preferences_are_learned_on_top_of_takes_nothing_from_the_training(tmp_path: Path) -> None:
    start = WarmStart(number=6, digest=digest("version 6"))
    training = {"objective": "DPO", "preference": {"referenceVersion": 6}, "learningRate": "2e-5"}
    config = read(tmp_path, document(adapter(training=training), warm_start=start))
    assert config.warm_start is not None
    assert config.warm_start.number == config.training.preference.reference_version == 6
    assert (config.training.epochs, config.training.learning_rate) == (adapter().spec.training.epochs, 2e-5)


def test_without_a_warm_start_the_training_is_the_users(tmp_path: Path) -> None:
    config = read(tmp_path, document(adapter()))
    assert config.warm_start is None
    assert config.training.epochs == adapter().spec.training.epochs
