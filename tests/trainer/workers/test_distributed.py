"""Several workers train one adapter: in one pod, in two, after a request to stop and after the death of one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.trainer.conftest import Pod
from tests.trainer.s3_server import S3Server, Service, is_checkpoint, serve_everybody

STEPS = 60
"""Enough for a checkpoint to be due before the end, at one each second."""

MakeRun = Callable[..., list[Pod]]


@pytest.fixture(scope="session")
def new_run(new_pod: Callable[[str], Pod]) -> MakeRun:
    """Make the pods of a short run of several workers."""

    def make(name: str, nodes: int, processes_per_node: int, sharding: str = "None") -> list[Pod]:
        pod = new_pod(name)
        pod.config["training"] |= {"maxSteps": STEPS, "evalSteps": 30, "checkpointSeconds": 1}
        pod.config["evaluation"]["maxProbeRows"] = 2
        pod.config["workers"] = {
            "nodes": nodes,
            "processesPerNode": processes_per_node,
            "sharding": sharding,
        }
        rendezvous = {"GRAFT_RENDEZVOUS": f"127.0.0.1:{free_port()}"}
        return [
            replace(
                pod, folder=pod.folder / f"node-{rank}", variables={**rendezvous, "JOB_COMPLETION_INDEX": str(rank)}
            )
            for rank in range(nodes)
        ]

    return make


@pytest.fixture(scope="session")
def undisturbed(new_run: MakeRun) -> Pod:
    """Two workers in one pod, left alone."""
    (pod,) = new_run("two workers in one pod", 1, 2)
    assert pod.start().wait() == 0
    return pod


def test_two_workers_publish_one_version(undisturbed: Pod) -> None:
    assert undisturbed.registry.numbers() == (1,)
    metrics = undisturbed.version().manifest.metrics
    assert metrics.steps == STEPS
    # 36 rows are 5 batches of 4 rows for each of 2 workers, and 2 of those make a step: 3 steps an epoch.
    assert metrics.epochs == STEPS / 3
    termination = undisturbed.termination()
    assert (termination["outcome"], termination["number"], termination["step"]) == ("Published", 1, STEPS)
    assert undisturbed.checkpoints.steps() == ()


def test_two_pods_stop_together_restart_together_and_end_in_the_same_bytes(
    new_run: MakeRun, undisturbed: Pod, s3_server: S3Server
) -> None:
    """Evicted once, killed once, and yet equal to two workers in one pod that nobody disturbed."""
    pods = new_run("one worker in each of two pods", 2, 1)

    launchers = start(pods)
    with at_the_first_checkpoint(s3_server, lambda: launchers[1].send_signal(signal.SIGTERM)):
        assert ends(launchers) == [143, 143]
    stopped = [pod.termination() for pod in pods]
    assert [(said["reason"], said["step"]) for said in stopped] == [("Preempted", stopped[0]["step"])] * 2
    assert pods[0].checkpoints.steps()[-1] == stopped[0]["step"] < STEPS

    launchers = start(pods)
    with at_the_first_checkpoint(s3_server, lambda: os.kill(worker_of(launchers[1]), signal.SIGKILL)):
        assert ends(launchers) == [70, 69]
    assert [pod.termination()["reason"] for pod in pods] == ["WorkerLost", "OutOfMemory"]
    assert pods[0].registry.numbers() == ()

    launchers = start(pods)
    assert ends(launchers) == [0, 0]
    assert [pod.termination()["number"] for pod in pods] == [1, 1]
    assert pods[0].registry.numbers() == (1,)
    assert pods[0].weights_sha256() == undisturbed.weights_sha256()


def test_rows_that_take_long_are_prepared_by_one_worker_for_all(new_run: MakeRun, undisturbed: Pod) -> None:
    (pod,) = new_run("two workers of which one prepares the rows", 1, 2)
    dataset = pod.config["dataset"]
    for source in (dataset["source"], dataset["evaluation"]["source"]):
        path = Path(source["file"]["path"])
        # What nothing is made of makes a set large, and its rows no others.
        rows = [json.loads(line) | {"note": "x" * 600_000} for line in path.read_text().splitlines()]
        path.write_text("\n".join(map(json.dumps, rows)))
    assert pod.start().wait() == 0
    assert pod.weights_sha256() == undisturbed.weights_sha256()
    first, second = (pod.folder / "work" / f"worker-{rank}" for rank in range(2))
    assert [(folder / "data" / "examples").exists() for folder in (first, second)] == [True, False]
    assert (second / "rows" / "facts.json").exists()


def test_sharing_the_weights_out_changes_nothing_but_where_they_are(new_run: MakeRun, undisturbed: Pod) -> None:
    (pod,) = new_run("two workers that share the weights out", 1, 2, "FSDP")
    assert pod.start().wait() == 0
    assert pod.weights_sha256() == undisturbed.weights_sha256()


def start(pods: list[Pod]) -> list[subprocess.Popen[bytes]]:
    return [pod.start() for pod in pods]


def ends(launchers: list[subprocess.Popen[bytes]]) -> list[int]:
    return [launcher.wait() for launcher in launchers]


@contextmanager
def at_the_first_checkpoint(server: S3Server, act: Callable[[], None]) -> Iterator[None]:
    """Act once, when the first manifest of a checkpoint arrives, before it is stored."""
    waiting = [act]

    def doorkeeper(method: str, path: str) -> Service:
        if waiting and method == "PUT" and is_checkpoint(path):
            waiting.pop()()
        return Service.SERVED

    server.doorkeeper = doorkeeper
    try:
        yield
    finally:
        server.doorkeeper = serve_everybody
    assert not waiting, "no checkpoint was stored"


def worker_of(launcher: subprocess.Popen[bytes]) -> int:
    """Return the process id of the worker that a pod's own process has started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (worker,) = map(int, children)
    return worker
