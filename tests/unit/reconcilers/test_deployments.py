"""Deployments as plans see them."""

from __future__ import annotations

from typing import Any

import pytest

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
    given, pod = deployment(readyReplicas=1), {"metadata": {"uid": "uid-of-pod", "name": "x-1", "labels": labels}}
    given["metadata"]["labels"] = labels
    body = pod | {"status": {"conditions": [no_node]}}
    observed = deployment_observed(given, [ServingPod(body=body, answer=None)], {"uid-of-pod": [said]}.__getitem__)
    assert observed.message.startswith(
        "WaitingForNode: pod triggered scale-up: [{gpus 0->1}]; until then Unschedulable"
    )


@pytest.mark.parametrize(
    ("status", "ready", "settled"),
    [
        pytest.param({}, 2, True, id="all are there"),
        pytest.param({"observedGeneration": 2}, 0, False, id="the counts are of the spec before"),
        pytest.param({"availableReplicas": 1}, 2, False, id="one is not available yet"),
    ],
)
def test_counts(status: dict[str, Any], ready: int, settled: bool) -> None:
    seen = deployment_observed(deployment(**status), ())
    assert (seen.ready_replicas, seen.settled) == (ready, settled)
