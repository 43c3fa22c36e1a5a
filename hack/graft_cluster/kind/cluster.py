"""The kind cluster itself: create, connect, wait, delete."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images import local_registry
from graft_cluster.kind import node_network
from graft_cluster.kind.config import CLUSTER, CONTROL_PLANE, NODES, Stores, render
from graft_cluster.steps import Step, StepFailed, Steps

JOIN_PATIENCE_S = 60


class Cluster:
    """One cluster of kind, in whichever Docker daemon."""

    def __init__(self, cache: Cache, steps: Steps, docker: Docker) -> None:
        """Nothing is created yet."""
        self._cache = cache
        self._steps = steps
        self._docker = docker

    def is_up(self) -> bool:
        """Whether all nodes run and the API server says it is ready."""
        running = all(self._docker.succeeds("exec", node, "true") for node in NODES)
        return running and self._ready()

    def create(self, node_image: str, stores: Stores | None, *, without_cni: bool) -> None:
        """Create the cluster from nothing; what is left of an old one goes first."""
        config = self._cache.root / "kind.yaml"
        volumes = self._cache.volumes
        config.write_text(render(volumes, stores, node_image, without_cni=without_cni))
        with self._steps.step("create the kind cluster") as step:
            self._kind(step, "create", "cluster", f"--config={config}", "--wait=0s")
        self.connect(without_cni=without_cni)

    def connect(self, *, without_cni: bool) -> None:
        """Registry, pod network and readiness; harmless to repeat."""
        with self._steps.step("connect the nodes") as step:
            for node in NODES:
                local_registry.tell_node(step, self._docker, node)
            if without_cni:
                node_network.connect(step, self._docker, self._nodes(step))
            wait = ("wait", "--for=condition=Ready", "node", "--all", "--timeout=120s")
            self.kubectl(step, *wait)
        with self._steps.step("wait for DNS") as step:
            rollout = ("rollout", "status", "deployment/coredns", "--timeout=120s")
            self.kubectl(step, "-n", "kube-system", *rollout)

    def delete(self) -> None:
        """Delete the nodes and their prepared stores."""
        with self._steps.step("delete the kind cluster") as step:
            # A set-up that ended before kind was built has made no cluster.
            if shutil.which("kind", path=self._docker.environment["PATH"]):
                self._kind(step, "delete", "cluster", f"--name={CLUSTER}")
            step.run(["rm", "-rf", self._cache.root / "nodes"])
        self._cache.kubeconfig.unlink(missing_ok=True)

    def kubectl(self, step: Step, *arguments: str, stdin: str | None = None) -> None:
        """Run kubectl as the cluster's admin."""
        step.run([*self._kubectl(), *arguments], env=self._docker.environment, stdin=stdin)

    def helm(self, step: Step, *arguments: str | Path, stdin: str | None = None) -> None:
        """Run Helm as the cluster's admin."""
        kubeconfig = f"--kubeconfig={self._cache.kubeconfig}"
        step.run(["helm", *arguments, kubeconfig], env=self._docker.environment, stdin=stdin)

    def read(self, step: Step, *arguments: str) -> str:
        """Run kubectl and return what it printed."""
        return step.read([*self._kubectl(), *arguments], env=self._docker.environment)

    def address(self, step: Step) -> str:
        """The control plane's address, where NodePorts answer."""
        nodes = {node.name: node for node in self._nodes(step)}
        return nodes[CONTROL_PLANE].address

    def _nodes(self, step: Step) -> list[node_network.Node]:
        deadline = time.monotonic() + JOIN_PATIENCE_S
        while time.monotonic() < deadline:
            listing = self.read(step, "get", "nodes", "-o", "json")
            nodes = node_network.parse_nodes(listing)
            if len(nodes) == len(NODES):
                return nodes
            time.sleep(0.5)
        raise StepFailed("not every node joined the cluster")

    def _ready(self) -> bool:
        if not self._cache.kubeconfig.exists():
            return False
        step = Step("readiness", self._cache.log("readiness"))
        try:
            return self.read(step, "get", "--raw=/readyz").strip() == "ok"
        except (StepFailed, OSError):
            return False

    def _kind(self, step: Step, *arguments: str) -> None:
        kubeconfig = f"--kubeconfig={self._cache.kubeconfig}"
        env = {**self._docker.environment, "KIND_EXPERIMENTAL_PROVIDER": "docker"}
        step.run(["kind", *arguments, kubeconfig], env=env)

    def _kubectl(self) -> list[str]:
        return ["kubectl", f"--kubeconfig={self._cache.kubeconfig}"]
