"""The training Job around its pod: what it is found by, how it waits, and what tells it from the one before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, recipe_of, resolved_base

from graft_operator.manifests import labels
from graft_operator.manifests.jobs.training_job import pod_settings_digest, run_document, training_job_manifest


def training_job(*, lowered_batch: int | None = None, readapts: bool = False, **spec: Any) -> dict[str, Any]:
    subject = adapter(**spec)
    run = run_document(
        subject,
        resolved_base(),
        recipe=recipe_of(subject),
        reason="SpecChanged",
        dataset_digest=None,
        platform=PLATFORM,
    )
    return training_job_manifest(
        subject, resolved_base(), "uid-of-tiny", run, PLATFORM, lowered_batch=lowered_batch, readapts=readapts
    )


def test_a_job_with_a_queue_is_born_suspended_and_labelled() -> None:
    queued = training_job(pod={"queueName": "gpus"})
    assert queued["metadata"]["labels"][labels.KUEUE_QUEUE] == "gpus"
    assert queued["spec"]["suspend"] is True


def test_a_job_tells_its_queue_who_goes_first() -> None:
    queued = training_job(pod={"queueName": "gpus", "workloadPriorityClassName": "night.low"})
    assert queued["metadata"]["labels"][labels.KUEUE_PRIORITY] == "night.low"
    assert labels.KUEUE_PRIORITY not in training_job(pod={"queueName": "gpus"})["metadata"]["labels"]


def test_a_job_without_a_queue_runs_at_once() -> None:
    assert labels.KUEUE_QUEUE not in training_job()["metadata"]["labels"]
    assert training_job()["spec"]["suspend"] is False


def test_only_a_readaptation_takes_a_place_of_its_base() -> None:
    assert labels.READAPTATION not in training_job()["metadata"]["labels"]
    assert training_job(readapts=True)["metadata"]["labels"][labels.READAPTATION] == "true"


def test_a_job_tells_the_batch_that_it_trains_with() -> None:
    job = training_job(training={"batchSize": 2, "gradientAccumulation": 8}, lowered_batch=2)
    assert job["metadata"]["annotations"][labels.MICRO_BATCH] == "2"
    assert job["metadata"]["name"].endswith("-b2")
    run = json.loads(job["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert (run["training"]["batchSize"], run["training"]["gradientAccumulation"]) == (2, 8)


SETTINGS: dict[str, dict[str, Any]] = {
    "more memory": {"pod": {"resources": {"limits": {"memory": "64Gi"}}}},
    "another node": {"pod": {"nodeSelector": {"gpu": "h100"}}},
    "a queue": {"pod": {"queueName": "gpus"}},
    "a priority in its queue": {"pod": {"workloadPriorityClassName": "high"}},
    "a higher deadline": {"training": {"deadlineSeconds": 172800}},
}


@pytest.mark.parametrize("spec", SETTINGS.values(), ids=SETTINGS)
def test_a_job_that_is_stuck_is_made_anew_with(spec: dict[str, Any]) -> None:
    assert pod_settings_digest(adapter(**spec).spec) != pod_settings_digest(adapter().spec)


@pytest.mark.parametrize("spec", [{"lora": {"rank": 8}}, {"suspend": True}, {"evaluation": {"maxRegression": "1"}}])
def test_a_job_is_not_made_anew_for_what_its_pods_don_t_see(spec: dict[str, Any]) -> None:
    assert pod_settings_digest(adapter(**spec).spec) == pod_settings_digest(adapter().spec)


def test_the_trainer_is_not_told_what_is_the_operators() -> None:
    job = training_job(training={"rankDoubling": {"maxRank": 64}})
    run = json.loads(job["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert {"rankDoubling", "deadlineSeconds"} & run["training"].keys() == set()
