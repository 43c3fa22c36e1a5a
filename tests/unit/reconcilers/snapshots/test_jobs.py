"""Jobs and pods as plans see them. What a pod says is untrusted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.builders import NOW

from graft_operator.cluster import Change
from graft_operator.cluster.resources import PODS
from graft_operator.reconcilers.dispatch import is_done
from graft_operator.reconcilers.snapshots.containers import MESSAGE_LIMIT, pod_problem
from graft_operator.reconcilers.snapshots.jobs import job_observed, occupied_name

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
    "the last lines of a log stand for an outcome": (
        "Traceback (most recent call last):\n…\nValueError: foo\n",
        ("", "Traceback (most recent call last):\n…\nValueError: foo"),
    ),
    "of a long log only the end": (
        "\n".join(f"line {n}" for n in range(99)),
        ("", "\n".join(f"line {n}" for n in range(91, 99))),
    ),
    "one endless line is cut": ("x" * 4000, ("", "x" * MESSAGE_LIMIT)),
    "nothing at all is no outcome": ("", ("", "")),
    "half a document is a log line": (said()[:20], ("", said()[:20])),
    "a list is a log line": ("[1, 2]", ("", "[1, 2]")),
    "a number is a log line": ("1e999", ("", "1e999")),
    "a document of somebody else is a log line": ('{"error": "x"}', ("", '{"error": "x"}')),
    "brackets without end don't exhaust the stack": ("[" * 4096, ("", "[" * MESSAGE_LIMIT)),
    "half of a surrogate pair can be sent on": (said(message="\ud83d!"), ("BadDataset", "?!")),
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


DISRUPTED: dict[str, Any] = {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}

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


def container(name: str, **state: Any) -> dict[str, Any]:
    return {"name": name, "state": state}


def ended(code: int, message: str = "", second: int = 0) -> dict[str, Any]:
    begun, over = (f"2026-01-01T11:{minute}:{second:02}Z" for minute in ("00", "10"))
    return {"terminated": {"exitCode": code, "message": message, "startedAt": begun, "finishedAt": over}}


RUNS = {"running": {"startedAt": "2026-01-01T11:00:00Z"}}


def pod_of(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **fields: Any) -> dict[str, Any]:
    body = pod(None, phase="Running", containerStatuses=list(containers), initContainerStatuses=list(init))
    body["metadata"] |= {"uid": "uid-of-pod"} | fields.pop("metadata", {})
    body["status"] |= fields.pop("status", {})
    return body | fields


MESH = container("istio-proxy", **RUNS)
GOING = {"deletionTimestamp": "2026-01-01T11:00:00Z"}

SIDECARS: dict[str, tuple[list[dict[str, Any]], tuple[str, bool, bool, str]]] = {
    "both run": ([pod_of(container("trainer", **RUNS), MESH)], ("Active", False, True, "")),
    "the trainer is done": ([pod_of(container("trainer", **ended(0)), MESH)], ("Succeeded", True, False, "")),
    "an import is done": ([pod_of(container("import", **ended(0)), MESH)], ("Succeeded", True, False, "")),
    "the trainer has failed": (
        [pod_of(MESH, container("trainer", **ended(65, said())))],
        ("Failed", True, False, "BadDataset"),
    ),
    "the trainer is done, and its pod is about to say so": (
        [pod_of(container("trainer", **ended(0)))],
        ("Active", False, False, ""),
    ),
    "the pod is on its way out": (
        [pod_of(container("trainer", **ended(143)), MESH, metadata=GOING)],
        ("Active", False, False, ""),
    ),
    "the sidecar has ended first": (
        [pod_of(container("trainer", **RUNS), container("istio-proxy", **ended(1, said())))],
        ("Active", False, True, ""),
    ),
    "the sidecar needed more memory than it may have": (
        [
            pod_of(
                container("trainer", **RUNS),
                container("log-agent", terminated={"exitCode": 137, "reason": "OOMKilled"}),
            )
        ],
        ("Active", False, True, ""),
    ),
}


@pytest.mark.parametrize(("pods", "expected"), SIDECARS.values(), ids=SIDECARS)
def test_a_job_is_judged_by_its_own_container(
    pods: list[dict[str, Any]], expected: tuple[str, bool, bool, str]
) -> None:
    seen = job_observed(JOB, pods)
    reason = seen.outcome_reason if seen.state == "Failed" else ""
    assert (seen.state, seen.lingers, seen.pods_running, reason) == expected
    assert (seen.ended_time is not None) == seen.lingers


def test_a_training_by_several_pods_has_succeeded_once_all_of_them_have() -> None:
    body = JOB | {"spec": {"completions": 2}}
    first, second = (pod_of(container("trainer", **ended(0, second=second)), MESH) for second in (0, 5))
    assert job_observed(body, [first]).state == "Active"
    both = job_observed(body, [first, second])
    assert (both.state, both.ended_time) == ("Succeeded", datetime(2026, 1, 1, 11, 10, 5, tzinfo=UTC))


def test_only_the_time_for_which_the_trainer_ran_is_counted() -> None:
    waits = pod_of(container("trainer", waiting={"reason": "PodInitializing"}))
    begun, over = datetime(2026, 1, 1, 11, tzinfo=UTC), datetime(2026, 1, 1, 11, 10, tzinfo=UTC)
    assert job_observed(JOB, [waits]).ran == ()
    pods = [pod_of(container("trainer", **ended(1))), pod_of(container("trainer", **RUNS))]
    assert job_observed(JOB, pods).ran == ((begun, over), (begun, None))


def back_off(*, code: int = 1, message: str = "", **terminated: Any) -> dict[str, Any]:
    died = {"exitCode": code, "message": message} | terminated
    waits = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    return {"name": "engine", "state": {"waiting": waits}, "lastState": {"terminated": died}}


ALWAYS = {"restartPolicy": "Always"}
DEATHS: dict[str, tuple[dict[str, Any], str]] = {
    "an engine tells with its last lines": (
        pod_of(back_off(message="INFO starting\nerror: invalid tool call parser: hermez\n")),
        "CrashLoopBackOff: container engine: INFO starting\nerror: invalid tool call parser: hermez",
    ),
    "an init container tells with its outcome": (
        pod_of(
            init=(
                back_off(message=said(reason="Forbidden", message="Forbidden: the bucket is not yours"))
                | {"name": "fetch-base"},
            )
        ),
        "CrashLoopBackOff: container fetch-base: Forbidden: the bucket is not yours",
    ),
    "one that was killed for want of memory": (
        pod_of(back_off(code=137, reason="OOMKilled")),
        "CrashLoopBackOff: container engine: it needed more memory than its limit",
    ),
    "one that said nothing": (pod_of(back_off(code=139)), "CrashLoopBackOff: container engine: exit code 139"),
    "one that nothing is known of": (
        pod_of(back_off() | {"lastState": {}}),
        "CrashLoopBackOff: container engine: back-off 5m0s restarting failed container",
    ),
    "one that is started again in a moment": (
        pod_of(container("engine", **ended(1, "no GPU")), spec=ALWAYS),
        "CrashLoopBackOff: container engine: no GPU",
    ),
    "one that has done its work": (
        pod_of(container("engine", **RUNS), init=(container("fetch-base", **ended(0)),), spec=ALWAYS),
        "",
    ),
    "a Secret that is not there": (
        pod_of(
            container("engine", waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'})
        ),
        'CreateContainerConfigError: container engine: secret "x" not found',
    ),
}


@pytest.mark.parametrize(("body", "problem"), DEATHS.values(), ids=DEATHS)
def test_a_dead_container_is_heard_before_the_kubelet(body: dict[str, Any], problem: str) -> None:
    assert pod_problem(body) == problem


def event(reason: str, message: str, *, last: str = "2026-01-01T11:00:00Z", kind: str = "Warning") -> dict[str, Any]:
    return {"type": kind, "reason": reason, "message": message, "lastTimestamp": last}


QUOTA = 'Error creating: pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'
LATER = "2026-01-01T11:00:01Z"


def test_a_job_without_a_pod_tells_the_platforms_words() -> None:
    new = {"type": "Warning", "reason": "FailedCreate", "note": QUOTA, "eventTime": LATER}
    seen = job_observed(JOB, [], {"uid": [event("FailedCreate", "older"), new], "another": [event("Other", "newer")]})
    assert (seen.no_pods, seen.event) == (True, f"FailedCreate: {QUOTA}")
    held = job_observed(JOB | {"spec": {"suspend": True}}, [])
    assert (held.no_pods, held.event) == (False, "")
    assert not job_observed(JOB | {"status": {"conditions": [condition("Complete")]}}, []).no_pods


def test_a_volume_that_cant_be_mounted_is_told_until_the_pod_starts() -> None:
    mounts = event("FailedMount", 'MountVolume.SetUp failed for volume "data": configmap "rows" not found')
    events = {"uid-of-pod": [mounts, event("FailedMount", "timed out", last="2026-01-01T10:00:00Z")]}
    pending, running = (pod_of(container("trainer"), status={"phase": phase}) for phase in ("Pending", "Running"))
    assert job_observed(JOB, [pending], events).waiting == f"FailedMount: {mounts['message']}"
    assert job_observed(JOB, [running], events).waiting == ""
    events["uid-of-pod"].append(event("Pulled", "there it is", last=LATER, kind="Normal"))
    assert job_observed(JOB, [pending], events).waiting == ""


OURS = {"kind": "LoraAdapter", "name": "support", "uid": "ours", "controller": True}
NAMES: dict[str, tuple[dict[str, Any], tuple[bool, str] | None]] = {
    "our own": ({"ownerReferences": [OURS]}, None),
    "our own on its way out": (
        {"ownerReferences": [OURS], "deletionTimestamp": "now", "finalizers": ["foregroundDeletion"]},
        (True, "it ends once its pods have"),
    ),
    "one that a finalizer keeps": (
        {"ownerReferences": [OURS], "deletionTimestamp": "now", "finalizers": ["example.com/audit"]},
        (True, "kept by its finalizers example.com/audit"),
    ),
    "one of a former adapter": (
        {"ownerReferences": [OURS | {"uid": "former"}]},
        (True, "it belongs to a former LoraAdapter support"),
    ),
    "one that was orphaned": ({}, (False, "it belongs to nobody")),
    "one of a CronJob": (
        {"ownerReferences": [{"kind": "CronJob", "name": "nightly", "uid": "x", "controller": True}]},
        (False, "it belongs to CronJob nightly"),
    ),
}


@pytest.mark.parametrize(("metadata", "expected"), NAMES.values(), ids=NAMES)
def test_whose_name_it_is(metadata: dict[str, Any], expected: tuple[bool, str] | None) -> None:
    found = occupied_name({"metadata": {"name": "support-train-1"} | metadata}, "ours")
    assert (None if found is None else (found.ending, found.message)) == expected


def test_what_a_job_was_for_is_looked_up_again_as_soon_as_its_pod_has_done_it() -> None:
    runs, done = pod_of(container("trainer", **RUNS)), pod_of(container("trainer", **ended(0)), MESH)
    changes = {
        "done": (runs, done),
        "done when first seen": (None, done),
        "still done": (done, done),
        "gone": (done, None),
    }
    told = {name for name, (old, new) in changes.items() if is_done(Change(PODS, old, new))}
    assert told == {"done", "done when first seen"}


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
SCALE_UPS: dict[str, tuple[list[tuple[str, str, str]], str]] = {
    "nobody brings a node": ([], "Unschedulable: 0/1 nodes are available"),
    "Cluster Autoscaler does": (
        [("TriggeredScaleUp", "pod triggered scale-up: [{gpus 0->1 (max: 3)}]", LATER)],
        "WaitingForNode: pod triggered scale-up: [{gpus 0->1 (max: 3)}]; until then Unschedulable: 0/1",
    ),
    "GKE's words": (
        [
            (
                "TriggeredScaleUp",
                "pod triggered scale-up: [{https://www.googleapis.com/compute/v1/x 0->1 (max: 8)}]",
                LATER,
            )
        ],
        "WaitingForNode: pod triggered scale-up: [{https://www.googleapis.com",
    ),
    "Karpenter does": (
        [("Nominated", "Pod should schedule on: nodeclaim/gpu-7xk2p", LATER)],
        "WaitingForNode: Pod should schedule on: nodeclaim/gpu-7xk2p; until then",
    ),
    "the newest word counts": (
        [("Nominated", "nodeclaim/old", "2026-01-01T09:00:00Z"), ("Nominated", "nodeclaim/new", LATER)],
        "WaitingForNode: nodeclaim/new;",
    ),
    "an autoscaler that can't help": (
        [("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", LATER)],
        "Unschedulable: 0/1 nodes are available",
    ),
}


@pytest.mark.parametrize(("said_of_it", "waits"), SCALE_UPS.values(), ids=SCALE_UPS)
def test_a_pod_for_which_a_node_comes_waits_for_that(said_of_it: list[tuple[str, str, str]], waits: str) -> None:
    pending = pod_of(status={"phase": "Pending", "conditions": [NO_NODE]})
    events = {"uid-of-pod": [event(reason, note, last=last, kind="Normal") for reason, note, last in said_of_it]}
    seen = job_observed(JOB, [pending], events)
    assert seen.waiting.startswith(waits)
    assert (seen.state, seen.ran) == ("Active", ()), "no deadline runs before its container does"


def test_an_autoscaler_that_has_said_something_hides_no_volume_that_is_missing() -> None:
    pending = pod_of(status={"phase": "Pending", "conditions": [NO_NODE | {"status": "True"}]})
    events = [
        event("FailedMount", "no such volume", last="2026-01-01T10:00:00Z"),
        event("Nominated", "a node", last=LATER),
    ]
    assert job_observed(JOB, [pending], {"uid-of-pod": events}).waiting == "FailedMount: no such volume"


TIMES = ["2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z"]


def held(status: str, since: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Suspended", "status": status, "lastTransitionTime": since}]}


IDLE: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "since it was made": ({}, [], TIMES[0]),
    "since its pod was made": ({}, [pod(created=TIMES[1])], TIMES[1]),
    "since the newest one was": ({}, [pod(created=TIMES[2]), pod(created=TIMES[1])], TIMES[2]),
    "since it was held": (held("True", TIMES[2]), [pod(created=TIMES[1])], TIMES[2]),
    "it is held no more": (held("False", TIMES[2]), [pod(created=TIMES[1])], TIMES[1]),
    "what is no time says nothing": (held("True", "soon"), [pod(created="")], TIMES[0]),
}


@pytest.mark.parametrize(("status", "pods", "since"), IDLE.values(), ids=IDLE)
def test_since_when_it_may_wait(status: dict[str, Any], pods: list[dict[str, Any]], since: str) -> None:
    found = job_observed({"metadata": JOB["metadata"] | {"creationTimestamp": TIMES[0]}, "status": status}, pods)
    assert found.idle_since == datetime.fromisoformat(since)


FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."


def evicted(reason: str = "Evicted", *, created: str = "1", code: int = 143, **status: Any) -> dict[str, Any]:
    """A pod that the kubelet has ended: its trainer has left as it was told to."""
    ended = {"name": "trainer", "state": {"terminated": {"exitCode": code, "message": said(reason="Preempted")}}}
    told = {"phase": "Failed", "reason": reason, "message": FULL, "containerStatuses": [ended]}
    body = pod(None, created=created)
    return body | {"status": told | status}


def with_retries(count: int, **status: Any) -> dict[str, Any]:
    return JOB | {"spec": {"backoffLimit": count}, "status": status}


ENDED_BY_KUBELET: dict[str, tuple[list[dict[str, Any]], str]] = {
    "for its disk, as often as it has retries": ([evicted(), evicted()], "Evicted"),
    "and another pod is up already": ([pod(created="2", phase="Running"), evicted(), evicted()], "Evicted"),
    "before any container of it ran": ([evicted(containerStatuses=[]), evicted(containerStatuses=[])], "Evicted"),
    "by SIGKILL": ([evicted(code=137), evicted(code=137)], "Evicted"),
    "for its time": ([evicted("DeadlineExceeded"), evicted("DeadlineExceeded")], "DeadlineExceeded"),
    "for both": ([evicted("DeadlineExceeded", created="2"), evicted()], "DeadlineExceeded"),
    "once": ([evicted()], ""),
    "for the sake of others": ([evicted(**DISRUPTED), evicted(**DISRUPTED)], ""),
    "once for them": ([evicted(**DISRUPTED), evicted()], ""),
    "with its node": ([evicted("NodeShutdown"), evicted("Terminated")], ""),
    "by a preemption": ([evicted(""), evicted("")], ""),
    "not yet": ([evicted(phase="Running"), evicted(phase="Running")], ""),
}


@pytest.mark.parametrize(("pods", "reason"), ENDED_BY_KUBELET.values(), ids=ENDED_BY_KUBELET)
def test_a_job_whose_pods_the_kubelet_ends_again_and_again_has_failed(pods: list[dict[str, Any]], reason: str) -> None:
    found = job_observed(with_retries(2), pods)
    assert (found.state, found.lingers) == (("Failed", True) if reason else ("Active", False))
    if reason:
        assert (found.outcome_reason, found.outcome_message) == (reason, FULL)


def test_a_job_that_has_ended_by_itself_is_judged_by_its_own_end() -> None:
    done = with_retries(2, conditions=[{"type": "Complete", "status": "True"}])
    found = job_observed(done, [evicted(), evicted()])
    assert (found.state, found.lingers) == ("Succeeded", False)
