"""Operator → trainer (docs/contracts.md §4): what the operator mounts, the trainer reads, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from tests import builders

from graft_operator.manifests import training_job
from graft_operator.plan.training import USER_ERRORS, progress_of
from graft_operator.reconcilers.jobs import termination_of
from graft_registry.documents import Progress, timestamp
from graft_registry.documents.run import ProgressState
from graft_trainer.config import RunConfig, read_run_config
from graft_trainer.outcome import EXIT_CODES, Outcome, Reason
from graft_trainer.runtime import Settings

CLAIM = {"persistentVolumeClaim": {"claimName": "rows", "path": "sets/train.jsonl"}}

SPECS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything set": {
        "dataset": {
            "configMap": {"name": "rows", "key": "train.jsonl"},
            "format": "Messages",
            "evaluation": {"s3": {"uri": "s3://data/eval.jsonl"}},
        },
        "method": "QLoRA",
        "lora": {"rank": 8, "alpha": 8, "dropout": "0", "targetModules": ["all-linear"]},
        "training": {
            "epochs": 1,
            "maxSteps": 10,
            "learningRate": "1E-5",
            "schedule": "Constant",
            "precision": "BFloat16",
            "earlyStoppingPatience": 2,
            "seed": 0,
        },
        "evaluation": {"probes": [{"prompt": "2+2?", "expected": "4"}]},
    },
    "claims": {"dataset": CLAIM | {"evaluation": CLAIM}, "method": "RsLoRA"},
    "prompt and completion": {"dataset": CLAIM | {"format": "PromptCompletion"}},
    "text": {"dataset": CLAIM | {"format": "Text"}},
}


def job_of(**spec: Any) -> dict[str, Any]:
    subject, base = builders.adapter(**spec), builders.resolved_base()
    run = training_job.run_document(
        subject,
        base,
        recipe=builders.recipe_of(subject),
        reason="SpecChanged",
        dataset_digest=None,
        platform=builders.PLATFORM,
    )
    return training_job.training_job_manifest(subject, base, "uid-of-tiny", run, builders.PLATFORM)


def mounted_run(job: dict[str, Any], folder: Path) -> Path:
    """Write what the kubelet would mount, below ``folder``, and return the file that the trainer looks for."""
    pod = job["spec"]["template"]
    (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "run"]
    (item,) = volume["downwardAPI"]["items"]
    annotation = str(item["fieldRef"]["fieldPath"]).removeprefix("metadata.annotations['").removesuffix("']")
    (mount,) = [mount for mount in trainer(job)["volumeMounts"] if mount["name"] == "run"]
    file = folder / str(mount["mountPath"]).lstrip("/") / str(item["path"])
    file.parent.mkdir(parents=True)
    file.write_text(pod["metadata"]["annotations"][annotation])
    return file


def trainer(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


@pytest.mark.parametrize("name", SPECS)
def test_trainer_understands_the_run(name: str, tmp_path: Path) -> None:
    config = read_run_config(mounted_run(job_of(**SPECS[name]), tmp_path))
    subject = builders.adapter(**SPECS[name])
    assert (config.adapter, config.namespace) == (subject.metadata.name, subject.metadata.namespace)
    assert config.lora.rank == subject.spec.lora.rank
    assert config.lora.alpha == subject.spec.lora.effective_alpha
    assert config.training.learning_rate == float(subject.spec.training.learning_rate)
    assert config.training.max_steps == subject.spec.training.max_steps
    assert config.method == subject.spec.method


def test_every_value_of_an_enum_means_something_to_the_trainer() -> None:
    run = json.loads(job_of()["spec"]["template"]["metadata"]["annotations"]["graft.dev/run"])
    choices = {
        ("method",): ["LoRA", "QLoRA", "RsLoRA"],
        ("dataset", "format"): ["Auto", "Messages", "PromptCompletion", "Text"],
        ("training", "schedule"): ["Constant", "Linear", "Cosine"],
        ("training", "precision"): ["Auto", "Float32", "BFloat16"],
    }
    for path, values in choices.items():
        for value in values:
            *parents, last = path
            node = run
            for parent in parents:
                node = node[parent]
            node[last] = value
            RunConfig.model_validate_json(json.dumps(run))


def test_files_are_where_the_trainer_looks_for_them(tmp_path: Path) -> None:
    job = job_of(**SPECS["claims"])
    settings = Settings.from_environment(environment(trainer(job)))
    config = read_run_config(mounted_run(job, tmp_path))
    mounts = {Path(mount["mountPath"]) for mount in trainer(job)["volumeMounts"]}
    assert settings.run_config == Path("/") / mounted_path(job)
    assert config.base.path in mounts
    assert settings.work_folder in mounts
    for source in (config.dataset.source, config.dataset.evaluation.source):
        assert source is not None
        assert source.file is not None
        assert any(source.file.path.is_relative_to(mount) for mount in mounts - {Path("/")})


def mounted_path(job: dict[str, Any]) -> Path:
    (mount,) = [mount for mount in trainer(job)["volumeMounts"] if mount["name"] == "run"]
    return Path(mount["mountPath"]) / training_job.RUN_FILE


def test_exit_codes_of_user_errors_fail_the_job_at_once() -> None:
    assert {Reason(reason) for reason in USER_ERRORS} == {
        reason for reason, code in EXIT_CODES.items() if code in training_job.USER_ERROR_CODES
    }
    assert EXIT_CODES[Reason.PREEMPTED] == training_job.PREEMPTED_CODE


def test_preemption_and_crash_are_nobodys_fault() -> None:
    retried = {Reason.PREEMPTED, Reason.CRASHED, Reason.OUT_OF_MEMORY, Reason.REGISTRY_UNAVAILABLE}
    assert not {EXIT_CODES[reason] for reason in retried} & set(training_job.USER_ERROR_CODES)


@pytest.mark.parametrize("reason", Reason)
def test_operator_reads_the_termination_message(reason: Reason) -> None:
    outcome = Outcome(reason=reason, message="ü" * 5000, field="spec.dataset.s3.uri", number=7)
    terminated = {"terminated": {"message": outcome.termination_message()}}
    said = termination_of({"status": {"containerStatuses": [{"state": terminated}]}})
    assert said["reason"] == reason
    assert said["field"] == "spec.dataset.s3.uri"
    assert len(outcome.termination_message().encode()) <= 4096


@pytest.mark.parametrize("state", get_args(ProgressState))
def test_operator_tells_the_progress_on_the_status(state: ProgressState) -> None:
    recipe = builders.recipe_of(builders.adapter())
    told = Progress(
        recipe=recipe, state=state, step=3, max_steps=9, loss=1.5, eta_seconds=7.4, updated_time=timestamp()
    )
    shown = progress_of(builders.seen(progress=told), builders.job(recipe))
    assert (shown.state, shown.step, shown.max_steps) == (state, 3, 9)


def test_operator_tells_the_progress_of_a_run_that_has_not_counted_its_steps_yet() -> None:
    recipe = builders.recipe_of(builders.adapter())
    told = Progress(recipe=recipe, state="Loading", updated_time=timestamp())
    assert progress_of(builders.seen(progress=told), builders.job(recipe)).state == "Loading"
