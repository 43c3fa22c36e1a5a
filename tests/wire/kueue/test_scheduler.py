"""Kueue's real scheduler and the real operator on a real API server: what each makes of the other's objects.

No pod runs here: the simulator plays the Job controller and the trainer. On a cluster with nodes: `tests/kueue`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from demo.cluster import Object, condition
from tests.control_plane import ADAPTERS, BASES, BINARIES, JOBS, ApiError, ControlPlane, Kind, until
from tests.control_plane.processes import process
from tests.ports import free_port
from tests.simulator import OperatorProcess, operator_environment
from tests.simulator.world import World, world

from graft_cluster import versions

pytestmark = [pytest.mark.kueue, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).resolve().parents[3]
API: Final = "kueue.x-k8s.io/v1beta2"
NAMESPACE, QUEUE, CLUSTER_QUEUE = "team-a", "gpus", "trainings"
TOLD_SECONDS: Final = 90.0
"""A Kueue that was not there is looked for once a minute."""
CPU: Final = 400
POD: Final[Object] = {"queueName": QUEUE, "resources": {"requests": {"cpu": f"{CPU}m", "memory": "1Gi"}}}
CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
KINDS: Final = {
    kind: Kind(API, plural)
    for kind, plural in {
        "ResourceFlavor": "resourceflavors",
        "ClusterQueue": "clusterqueues",
        "LocalQueue": "localqueues",
        "WorkloadPriorityClass": "workloadpriorityclasses",
        "Workload": "workloads",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Team:
    """A namespace with a base that is resolved, an operator and a Kueue."""

    world: World

    async def put(self, kind: str, name: str, namespace: str | None = None, **fields: Any) -> None:
        """Make or replace an object of Kueue's."""
        body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, **fields}
        await self.world.client.request(
            "PATCH",
            KINDS[kind].path(namespace, name),
            query={"fieldManager": "test", "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def give(self, cpu: int, policy: str = "None") -> None:
        """Have the queue's quota be so many thousandths of a CPU."""
        quota = [{"name": "cpu", "nominalQuota": f"{cpu}m"}, {"name": "memory", "nominalQuota": "64Gi"}]
        flavors = [{"name": CLUSTER_QUEUE, "resources": quota}]
        spec = {
            "namespaceSelector": {},
            "stopPolicy": policy,
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": flavors}],
        }
        await self.put("ResourceFlavor", CLUSTER_QUEUE, spec={})
        await self.put("ClusterQueue", CLUSTER_QUEUE, spec=spec)

    async def open(self, queue: str) -> None:
        """Make a LocalQueue."""
        await self.put("LocalQueue", queue, NAMESPACE, spec={"clusterQueue": CLUSTER_QUEUE})

    async def train(self, name: str, **pod: Any) -> None:
        """Apply an adapter that only trains."""
        spec = {
            "baseModelRef": {"name": "tiny"},
            "dataset": {"s3": {"uri": f"s3://data/{name}.jsonl"}},
            "serving": {"mode": "None"},
            "pod": POD | pod,
        }
        body = {"apiVersion": "graft.dev/v1alpha1", "kind": "LoraAdapter", "metadata": {"name": name}, "spec": spec}
        await self.world.client.create(ADAPTERS, NAMESPACE, body)

    async def says(self, name: str, *words: str) -> None:
        """Wait until both conditions of an adapter say that it is queued, and why."""
        told: list[Object] = []

        async def said() -> bool:
            adapter = await self.world.client.get(ADAPTERS, NAMESPACE, name)
            told[:] = [condition(adapter, kind) for kind in ("Trained", "Ready")]
            return all(
                item.get("reason") == "Queued" and all(word in item.get("message", "") for word in words)
                for item in told
            )

        await reached(said, lambda: f"{name} says {told}, not {words}")

    async def is_published(self, name: str) -> bool:
        """Whether the version that an adapter asks for is there."""
        return condition(await self.world.client.get(ADAPTERS, NAMESPACE, name), "Ready").get("reason") == "Published"

    async def job(self, name: str) -> Object:
        """Return the only training Job of an adapter."""
        jobs, _ = await self.world.client.list(JOBS, NAMESPACE, "graft.dev/component=training")
        [found] = [job for job in jobs if job["metadata"]["annotations"]["graft.dev/owner-name"] == name]
        return found


async def reached(holds: Callable[[], Awaitable[bool]], otherwise: Callable[[], str]) -> None:
    """Wait until something is so. Fails with what is there instead."""
    deadline = time.monotonic() + TOLD_SECONDS
    while not await holds():
        assert time.monotonic() < deadline, otherwise()
        await asyncio.sleep(0.3)


@contextmanager
def kueue(plane: ControlPlane) -> Iterator[None]:
    """Run Kueue's controller, without webhooks: nobody would reach them here.

    It reads certificates from a place that can't be chosen, so the folder is all of the file system that it sees.
    """
    folder = plane.folder
    certificates = folder / "etc/kueue/metrics/certs"
    certificates.mkdir(parents=True)
    (folder / "tmp").mkdir()
    shutil.copy(BINARIES / "kueue", folder / "kueue")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kueue")
    files = ("-keyout", certificates / "tls.key", "-out", certificates / "tls.crt")
    subprocess.run([*made, *files], check=True, capture_output=True)
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": "kueue-system",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{free_port()}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"port": free_port(), "certDir": "/etc/kueue/metrics/certs"},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "manageJobsWithoutQueueName": False,
        "integrations": {"frameworks": ["batch/job"]},
    }
    (folder / "kueue.yaml").write_text(yaml.safe_dump(configuration))
    kubeconfig = plane.kubeconfig("kueue").name
    options = ("--config=/kueue.yaml", f"--kubeconfig=/{kubeconfig}", "--feature-gates=VisibilityOnDemand=false")
    with process("chroot", [str(folder), "/kueue", *options], folder):
        yield


async def install(world: World) -> None:
    """Apply Kueue's CustomResourceDefinitions, which lie in its module, in the version that needs no webhook."""
    module = BINARIES.parent / "go-modules" / "sigs.k8s.io" / f"kueue@v{versions.KUEUE}"
    for path in sorted((module / "config" / "components" / "crd" / "bases").glob("*.yaml")):
        await world.client.request("POST", CRDS.path(), body=yaml.safe_load(path.read_text()))

    async def served() -> bool:
        try:
            found = await world.client.request("GET", f"/apis/{API}")
        except ApiError:
            return False
        return {kind.plural for kind in KINDS.values()} <= {item["name"] for item in found["resources"]}

    await until(served, TOLD_SECONDS)


@pytest.fixture(scope="module", autouse=True)
def program() -> None:
    """Build Kueue, where that has not been done."""
    command = [sys.executable, "-m", "graft_cluster", "kueue", "--program"]
    subprocess.run(command, cwd=ROOT / "hack", check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "hack")})


@asynccontextmanager
async def team(folder: Path) -> AsyncIterator[Team]:
    """Start everything but Kueue, and resolve a base."""
    async with world() as around:
        for namespace in ("graft-system", "kueue-system", NAMESPACE):
            await around.client.ensure_namespace(namespace)
        environment = operator_environment(around.plane.kubeconfig(), around.registry)
        async with OperatorProcess.start(environment, folder / "operator.log"):
            spec = {"source": {"s3": {"uri": "s3://models/tiny/v1"}}, "serving": {"replicas": 0}}
            base = {"apiVersion": "graft.dev/v1alpha1", "kind": "BaseModel", "metadata": {"name": "tiny"}, "spec": spec}
            await around.client.create(BASES, NAMESPACE, base)
            yield Team(around)
        assert around.simulator.errors == []


async def test_a_queue_says_why_and_its_end_is_told(tmp_path: Path) -> None:
    async with team(tmp_path) as here:
        await here.train("alone")
        await here.says("alone", "this cluster has no Kueue", "empty spec.pod.queueName")
        await install(here.world)
        with kueue(here.world.plane):
            await here.says("alone", "LocalQueue gpus doesn't exist", "make the LocalQueue gpus in this namespace")
            await here.give(CPU, "Hold")
            await here.open(QUEUE)
            await here.says("alone", "ClusterQueue trainings is inactive", "has stopped ClusterQueue trainings")
            await here.give(CPU // 2)
            await here.says("alone", "insufficient quota for cpu", "> maximum capacity", "lower spec.pod.resources")
            job = await here.job("alone")
            here.world.simulator.jobs.seconds = 20
            await here.give(CPU)
            await reached(lambda: runs(here, "alone"), lambda: "it is not admitted")
            await here.train("next")
            await here.says("next", "insufficient unused quota for cpu in flavor trainings", "more needed")
            for name in ("alone", "next"):
                await reached(partial(here.is_published, name), lambda: "nothing is published")
            assert (await here.job("alone"))["metadata"]["uid"] == job["metadata"]["uid"]


async def test_priority_takes_the_quota_and_is_told(tmp_path: Path) -> None:
    async with team(tmp_path) as here:
        await install(here.world)
        here.world.simulator.jobs.seconds = 3600
        with kueue(here.world.plane):
            await here.give(CPU)
            await here.open(QUEUE)
            for name, value in (("low", 10), ("high", 1000)):
                await here.put("WorkloadPriorityClass", name, value=value)
            await here.train("patient", workloadPriorityClassName="low")
            await reached(lambda: runs(here, "patient"), lambda: "it is not admitted")
            await here.train("hurried", workloadPriorityClassName="high")
            await here.says("patient", "Preempted to accommodate")
            await reached(lambda: runs(here, "hurried"), lambda: "it is not admitted")
            await here.train("nobody", workloadPriorityClassName="missing")
            await here.says("nobody", "Kueue has made no Workload of it", "spec.pod.workloadPriorityClassName")
            adapter = await here.world.client.get(ADAPTERS, NAMESPACE, "patient")
            assert adapter is not None
            assert "failedTrainings" not in adapter["status"], json.dumps(adapter["status"])


async def runs(here: Team, name: str) -> bool:
    try:
        return not (await here.job(name))["spec"]["suspend"]
    except ValueError:  # there is none yet
        return False
