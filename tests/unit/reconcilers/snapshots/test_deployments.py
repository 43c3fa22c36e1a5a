"""Deployments as plans see them."""

from __future__ import annotations

from typing import Any

import pytest

from graft_operator.agents.state import AgentState, EngineState
from graft_operator.reconcilers.snapshots.deployments import deployment_observed
from graft_operator.reconcilers.snapshots.serving_pods import ServingPod

COUNTS = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2, "observedGeneration": 3}
QUOTA = 'pods "x-1" is forbidden: exceeded quota: team-a'


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "uid": "u", "generation": 3},
        "spec": {"replicas": 2},
        "status": COUNTS | status,
    }


def failure(status: str) -> dict[str, Any]:
    return {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": QUOTA}


MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing stands in the way": ({}, ""),
    "a quota takes no pod": ({"conditions": [failure("True")]}, f"FailedCreate: {QUOTA}"),
    "the quota has room again": ({"conditions": [failure("False")]}, ""),
}


@pytest.mark.parametrize(("status", "message"), MESSAGES.values(), ids=MESSAGES)
def test_what_stands_in_the_way(status: dict[str, Any], message: str) -> None:
    assert deployment_observed(deployment(**status), ()).message == message


def test_a_serving_pod_for_which_a_node_comes_is_said_to_wait_for_it() -> None:
    said = {"reason": "TriggeredScaleUp", "note": "pod triggered scale-up: [{gpus 0->1}]", "type": "Normal"}
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    labels = {"graft.dev/base-digest": "0a1b2c3d"}
    given, pod = deployment(availableReplicas=1), {"metadata": {"uid": "uid-of-pod", "name": "x-1", "labels": labels}}
    given["metadata"]["labels"] = labels
    body = pod | {"status": {"conditions": [no_node]}}
    observed = deployment_observed(given, [ServingPod(body=body, answer=None)], {"uid-of-pod": [said]}.__getitem__)
    assert observed.message.startswith(
        "WaitingForNode: pod triggered scale-up: [{gpus 0->1}]; until then Unschedulable"
    )


def engine(state: str, message: str = "") -> EngineState:
    return EngineState(state=state, starts=1, message=message)


UNREACHABLE = "the engine can't be reached at http://127.0.0.1:8001: Cannot connect to host 127.0.0.1:8001"
RUNS = {"name": "engine", "state": {"running": {"startedAt": "2026-01-01T11:58:00Z"}}}
SINCE = "engine Starting: it loads the model since 2026-01-01T11:58:00Z, which takes minutes"
ENGINES: dict[str, tuple[EngineState, dict[str, Any], str]] = {
    "it starts": (engine("Starting", UNREACHABLE), {"initContainerStatuses": [RUNS]}, SINCE),
    "a merged model's does": (engine("Starting", UNREACHABLE), {"containerStatuses": [RUNS]}, SINCE),
    "it says something itself": (
        engine("Starting", "HTTP 500"),
        {"initContainerStatuses": [RUNS]},
        f"{SINCE}; HTTP 500",
    ),
    "nobody says since when": (
        engine("Starting", UNREACHABLE),
        {},
        "engine Starting: it loads the model, which takes minutes",
    ),
    "it is gone": (engine("Down", UNREACHABLE), {"initContainerStatuses": [RUNS]}, f"engine Down: {UNREACHABLE}"),
    "it is ready": (engine("Ready"), {"initContainerStatuses": [RUNS]}, ""),
}


@pytest.mark.parametrize(("told", "status", "message"), ENGINES.values(), ids=ENGINES)
def test_an_engine_that_loads_its_model_does_not_look_broken(
    told: EngineState, status: dict[str, Any], message: str
) -> None:
    labels = {"graft.dev/base-digest": "0a1b2c3d"}
    given = deployment(availableReplicas=0)
    given["metadata"]["labels"] = labels
    body = {"metadata": {"uid": "uid-of-pod", "name": "x-1", "labels": labels}, "status": status}
    pod = ServingPod(body=body, answer=AgentState(pod="x-1", engine=told, ready=False))
    assert deployment_observed(given, [pod]).message == message


@pytest.mark.parametrize(
    ("status", "ready", "settled"),
    [
        pytest.param({}, 2, True, id="all are there"),
        pytest.param({"observedGeneration": 2}, 0, False, id="the counts are of the spec before"),
        pytest.param({"availableReplicas": 1}, 1, False, id="one is not available yet"),
    ],
)
def test_counts(status: dict[str, Any], ready: int, settled: bool) -> None:
    seen = deployment_observed(deployment(**status), ())
    assert (seen.ready_replicas, seen.settled) == (ready, settled)
