"""Jobs and pods as plans see them. What a pod says is untrusted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import NOW

from graft_operator.reconcilers.jobs import MESSAGE_LIMIT, job_observed

JOB: dict[str, Any] = {
    "metadata": {"name": "support-train-1", "uid": "uid", "annotations": {"graft.dev/recipe": "sha256:r"}}
}


def pod(message: str | None = None, *, created: str = "1", **status: Any) -> dict[str, Any]:
    terminated = {"containerStatuses": [{"name": "trainer", "state": {"terminated": {"message": message}}}]}
    return {
        "metadata": {"labels": {"job-name": "support-train-1"}, "creationTimestamp": created},
        "status": (terminated if message is not None else {}) | status,
    }


def said(**fields: Any) -> str:
    return json.dumps({"outcome": "Failed", "reason": "BadDataset", "message": "row 3 is empty"} | fields)


MESSAGES: dict[str, tuple[str, tuple[str, str]]] = {
    "our own word is taken": (said(), ("BadDataset", "row 3 is empty")),
    "the field stands before the message": (
        said(field="spec.dataset.format"),
        ("BadDataset", "spec.dataset.format: row 3 is empty"),
    ),
    "a field that is there already is not told twice": (
        said(field="spec.seed", message="spec.seed must be positive"),
        ("BadDataset", "spec.seed must be positive"),
    ),
    "a log line is no outcome": ("Traceback (most recent call last): …", ("", "")),
    "nothing at all is no outcome": ("", ("", "")),
    "half a document is no outcome": (said()[:20], ("", "")),
    "a list is no outcome": ("[1, 2]", ("", "")),
    "a number is no outcome": ("1e999", ("", "")),
    "a document of somebody else is no outcome": ('{"error": "x"}', ("", "")),
    "brackets without end don't exhaust the stack": ("[" * 4096, ("", "")),
    "a long message is cut": (said(message="x" * 4000), ("BadDataset", "x" * MESSAGE_LIMIT)),
    "a reason that no condition may have is dropped": (said(reason="bad reason!"), ("", "row 3 is empty")),
    "a reason that is no text is dropped": (said(reason={"a": 1}, message=["b"]), ("", "")),
    "an endless reason is dropped": (said(reason="A" * 65), ("", "row 3 is empty")),
}


@pytest.mark.parametrize(("message", "outcome"), MESSAGES.values(), ids=MESSAGES)
def test_termination_message(message: str, outcome: tuple[str, str]) -> None:
    seen = job_observed(JOB, [pod(message)])
    assert (seen.outcome_reason, seen.outcome_message) == outcome


def test_the_newest_pod_that_said_something_is_heard() -> None:
    pods = [pod(said(reason="Old"), created="1"), pod(said(reason="New"), created="2"), pod(None, created="3")]
    assert job_observed(JOB, pods).outcome_reason == "New"


def test_a_pod_that_lost_a_worker_is_not_heard_before_the_pod_of_that_worker() -> None:
    pods = [pod(said(reason="OutOfMemory"), created="1"), pod(said(reason="WorkerLost"), created="2")]
    assert job_observed(JOB, pods).outcome_reason == "OutOfMemory"
    assert job_observed(JOB, pods[1:]).outcome_reason == "WorkerLost"


def test_pods_of_other_jobs_are_not_heard() -> None:
    other = pod(said())
    other["metadata"]["labels"]["job-name"] = "another"
    assert job_observed(JOB, [other]).outcome_reason == ""


def test_a_container_that_was_started_again_is_heard() -> None:
    restarted = pod(None, initContainerStatuses=[{"lastState": {"terminated": {"message": said()}}}])
    assert job_observed(JOB, [restarted]).outcome_reason == "BadDataset"


def killed(code: int = 137, reason: str = "Error", **fields: Any) -> dict[str, Any]:
    """A pod whose trainer was killed by the kernel, or by whoever has deleted or disrupted it."""
    body = pod(
        None, containerStatuses=[{"name": "trainer", "state": {"terminated": {"exitCode": code, "reason": reason}}}]
    )
    body["metadata"] |= fields.get("metadata", {})
    body["status"] |= fields.get("status", {})
    return body | {"spec": {"containers": [{"name": "trainer", "resources": {"limits": fields.get("limits", {})}}]}}


DISRUPTED = {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}

KILLS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "by its limit": (
        killed(reason="OOMKilled", limits={"memory": "8Gi"}),
        (
            "OutOfMemory",
            "the kernel killed container trainer, which needed more than its limit of 8Gi (resources.limits.memory)",
        ),
    ),
    "without a word why": (killed(), ("", "")),
    "by an eviction": (killed(status=DISRUPTED), ("", "")),
    "by a person": (killed(metadata={"deletionTimestamp": "now"}), ("", "")),
    "of its own": (killed(1), ("", "")),
}


@pytest.mark.parametrize(("body", "outcome"), KILLS.values(), ids=KILLS)
def test_a_container_that_was_killed(body: dict[str, Any], outcome: tuple[str, str]) -> None:
    seen = job_observed(JOB, [body, pod(said(reason="Preempted", message="earlier"), created="0")])
    expected = outcome if outcome[0] else ("Preempted", "earlier")
    assert (seen.outcome_reason, seen.outcome_message) == expected


CODES = {
    69: "OutOfMemory",
    137: "",
    64: "InvalidConfig",
    65: "BadDataset",
    66: "BaseMismatch",
    67: "Diverged",
    1: "",
}


@pytest.mark.parametrize(("code", "reason"), CODES.items())
def test_the_exit_code_outlives_the_pod(code: int, reason: str) -> None:
    message = f"Container trainer for pod team-a/x-1 failed with exit code {code} matching FailJob rule at index 2"
    ended = condition("Failed", reason="PodFailurePolicy") | {"message": message}
    assert job_observed(JOB | {"status": {"conditions": [ended]}}, []).outcome_reason == reason


def test_what_a_job_was_made_with_is_read_from_it() -> None:
    annotations = {"graft.dev/micro-batch": "2", "graft.dev/pod-settings": "sha256:p"}
    body = {"metadata": JOB["metadata"] | {"annotations": annotations}, "spec": {"suspend": True}}
    seen = job_observed(body, [])
    assert (seen.micro_batch, seen.pod_settings, seen.suspended) == (2, "sha256:p", True)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1e3", "", "9" * 9])
def test_a_batch_that_somebody_has_edited_is_none(text: str) -> None:
    body = {"metadata": JOB["metadata"] | {"annotations": {"graft.dev/micro-batch": text}}}
    assert job_observed(body, []).micro_batch is None


def test_a_pod_that_has_ended_waits_for_nothing() -> None:
    evicted = pod(None, phase="Failed", **PROBLEMS["no node takes it"][0])
    assert job_observed(JOB, [evicted]).waiting == ""
    assert job_observed(JOB, [evicted]).pods_ended
    assert not job_observed(JOB, [evicted]).pods_running
    assert job_observed(JOB, [evicted, pod(None, phase="Running")]).pods_running
    assert not job_observed(JOB, [evicted, pod(None, phase="Running")]).pods_ended
    assert not job_observed(JOB, []).pods_ended
    assert not job_observed(JOB, []).pods_running


def condition(kind: str, status: str = "True", reason: str = "BackoffLimitExceeded") -> dict[str, Any]:
    when = NOW.isoformat().replace("+00:00", "Z")
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": when}


STATES: dict[str, tuple[list[dict[str, Any]], str, bool, str]] = {
    "new": ([], "Active", False, ""),
    "suspended": ([condition("Suspended")], "Active", False, ""),
    "complete": ([condition("SuccessCriteriaMet"), condition("Complete")], "Succeeded", True, ""),
    "failed": ([condition("Failed")], "Failed", True, "BackoffLimitExceeded"),
    "about to fail": ([condition("FailureTarget", reason="PodFailurePolicy")], "Failed", True, "PodFailurePolicy"),
    "not failed": ([condition("Failed", "False")], "Active", False, ""),
}


@pytest.mark.parametrize(("conditions", "state", "ended", "reason"), STATES.values(), ids=STATES)
def test_state(conditions: list[dict[str, Any]], state: str, ended: bool, reason: str) -> None:
    seen = job_observed(JOB | {"status": {"conditions": conditions}}, [])
    assert (seen.state, seen.failure_reason) == (state, reason)
    assert seen.ended_time == (NOW if ended else None)
    assert seen.recipe == "sha256:r"


def waiting(reason: str, **fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "trainer", "state": {"waiting": {"reason": reason} | fields}}]}


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing is wrong": ({}, ""),
    "no node takes it": (
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]},
        "Unschedulable: 0/3",
    ),
    "its image can't be pulled": (
        waiting("ImagePullBackOff", message="not found"),
        "ImagePullBackOff: container trainer: not found",
    ),
    "its start is only slow": (waiting("ContainerCreating"), ""),
}


@pytest.mark.parametrize(("status", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_why_a_pod_does_not_run(status: dict[str, Any], problem: str) -> None:
    assert job_observed(JOB, [pod(None, **status)]).waiting == problem
