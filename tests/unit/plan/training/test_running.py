"""A training that is on its way: its reason, its progress, and when to look again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import CREATED, NOW, adapter, job, recipe_of, seen

from graft_operator.api.adapter_status import TrainingProgress
from graft_operator.plan.jobs import Queueing
from graft_operator.plan.training.progress import next_look, training_is_running
from graft_registry.documents import Progress

RECIPE = recipe_of(adapter())
IN_GPUS = Queueing(queue="gpus")
PREEMPTED = {"pods_ended": True, "outcome_reason": "Preempted", "outcome_message": "checkpoint 40 is stored"}

REASONS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "it trains": ({}, {}, "Training", "Pending"),
    "no node takes its pod": ({"waiting": "Unschedulable: 0/3 nodes"}, {}, "Unschedulable", "0/3 nodes"),
    "no node has a GPU": (
        {"waiting": "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."},
        {},
        "Unschedulable",
        "no node has so much nvidia.com/gpu free",
    ),
    "its image can't be pulled": ({"waiting": "ErrImagePull: not found"}, {}, "ImagePullFailed", "ErrImagePull: not"),
    "its image still can't be": ({"waiting": "ImagePullBackOff: x"}, {}, "ImagePullFailed", "ImagePullBackOff: x"),
    "a quota refuses its pods": (
        {"no_pods": True, "event": "FailedCreate: pods is forbidden: exceeded quota: gpus"},
        {},
        "PodsRefused",
        "no pod of it can be created: pods is forbidden: exceeded quota: gpus",
    ),
    "it has had no pod for long, and nobody says why": (
        {"no_pods": True, "created_time": NOW - timedelta(hours=3)},
        {},
        "PodPending",
        "no pod of it has been created yet",
    ),
    "it was made a moment ago": ({"no_pods": True, "created_time": NOW}, {}, "Training", "Pending"),
    "Kueue holds it": (
        {"suspended": True, "queueing": IN_GPUS},
        {"queueName": "gpus"},
        "Queued",
        "waits until LocalQueue gpus admits it",
    ),
    "Kueue holds it, in the default queue": ({"suspended": True, "queueing": IN_GPUS}, {}, "Queued", "LocalQueue gpus"),
    "somebody else holds it": ({"suspended": True}, {}, "Queued", "suspended by somebody else"),
    "Kueue took its pod back": (
        PREEMPTED | {"suspended": True, "queueing": IN_GPUS},
        {"queueName": "gpus"},
        "Queued",
        "LocalQueue gpus",
    ),
    "its pod was preempted": (PREEMPTED, {}, "Preempted", "checkpoint 40 is stored; the next pod goes on"),
    "the next pod runs": (PREEMPTED | {"pods_ended": False}, {}, "Training", "Pending"),
    "the registry was away": (
        {"pods_ended": True, "outcome_reason": "RegistryUnavailable", "outcome_message": "no route"},
        {},
        "RegistryUnavailable",
        "no route",
    ),
    "its batch was lowered": (
        {"micro_batch": 1},
        {},
        "Training",
        "(batchSize 1 × 16 after running out of memory)",
    ),
}


@pytest.mark.parametrize(("fields", "pod", "reason", "says"), REASONS.values(), ids=REASONS)
def test_the_reason_of_an_active_job(fields: dict[str, Any], pod: dict[str, Any], reason: str, says: str) -> None:
    verdict = training_is_running(seen(adapter(pod=pod), jobs=(job(RECIPE, **fields),)), NOW)
    assert verdict is not None
    assert (verdict.trained.reason, verdict.waiting) == (reason, verdict.trained)
    assert says in verdict.trained.message


def test_status_tells_the_batch_that_is_really_trained_with() -> None:
    said = Progress(recipe=RECIPE, state="Training", step=7, max_steps=9, loss=1.25, updated_time=CREATED)
    verdict = training_is_running(seen(jobs=(job(RECIPE, micro_batch=2),), progress=said), NOW)
    assert verdict is not None
    progress = verdict.progress
    assert progress is not None
    assert (progress.batch_size, progress.gradient_accumulation) == (2, 8)
    assert (progress.state, progress.step, progress.max_steps, progress.loss) == ("Training", 7, 9, "1.2500")


@pytest.mark.parametrize(("pod", "workers"), [({}, 1), ({"workers": {"nodes": 2, "processesPerNode": 4}}, 8)])
def test_status_tells_how_many_workers_train_even_before_they_start(pod: dict[str, Any], workers: int) -> None:
    subject = adapter(pod=pod)
    verdict = training_is_running(seen(subject, jobs=(job(recipe_of(subject), suspended=True),)), NOW)
    assert verdict is not None
    assert verdict.progress is not None
    assert verdict.progress.workers == workers


WITHOUT_A_POD_THAT_RUNS: dict[str, dict[str, Any]] = {
    "no node takes it": {"waiting": "Unschedulable: 0/3 nodes", "pods_running": True},
    "its image is pulled, or its base fetched": {"pods_running": True},
    "the next pod of one that has ended waits": {
        "pods_running": True,
        "ran": ((NOW - timedelta(hours=1), NOW - timedelta(minutes=1)),),
    },
    "Kueue holds it": {"suspended": True},
    "it has no pod": {"no_pods": True},
}


@pytest.mark.parametrize("fields", WITHOUT_A_POD_THAT_RUNS.values(), ids=WITHOUT_A_POD_THAT_RUNS)
def test_a_training_without_a_pod_that_runs_is_pending_whatever_was_said_before(fields: dict[str, Any]) -> None:
    said = Progress(
        recipe=RECIPE, state="Training", step=7, max_steps=9, loss=1.25, eta_seconds=9, updated_time=CREATED
    )
    verdict = training_is_running(seen(jobs=(job(RECIPE, **fields),), progress=said), NOW)
    assert verdict is not None
    assert verdict.progress is not None
    assert (verdict.progress.state, verdict.progress.step, verdict.progress.eta_seconds) == ("Pending", 7, None)


def test_a_training_whose_pod_runs_is_as_far_as_it_says() -> None:
    said = Progress(recipe=RECIPE, state="Training", step=7, max_steps=9, updated_time=CREATED)
    runs = job(RECIPE, pods_running=True, ran=((NOW - timedelta(hours=2), NOW - timedelta(hours=1)), (NOW, None)))
    verdict = training_is_running(seen(jobs=(runs,), progress=said), NOW)
    assert verdict is not None
    assert verdict.progress is not None
    assert verdict.progress.state == "Training"


LOOKS = {
    "nothing is known yet": ("Loading", None, 3.0),
    "an hour is left": ("Training", 3600, 15.0),
    "a minute is left": ("Training", 40, 10.0),
    "a second is left": ("Training", 1, 1.0),
    "it is about to publish": ("Publishing", 3600, 1.0),
}


@pytest.mark.parametrize(("state", "eta", "seconds"), LOOKS.values(), ids=LOOKS)
def test_the_next_look_comes_sooner_towards_the_end(state: str, eta: int | None, seconds: float) -> None:
    progress = TrainingProgress(job="job", recipe=RECIPE, state=state, eta_seconds=eta)
    assert next_look(progress) == seconds
