"""Flux and Argo CD in the cluster: installed for the tests, told of a repository, and asked what they say."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import yaml
from demo.cluster import Cluster, Object
from tests.gitops.reports import Report, of_application, of_kustomization
from tests.gitops.repository import EXAMPLE, STAGE

ROLLOUT_SECONDS = 180
FOLLOWED = "models-e2e"
INTERVAL = "10s"
"""How often a tool looks, in place of the example's minutes."""
LOOKS_SECONDS = 35.0
"""In which a tool that is not told to looks at everything at least twice."""


@dataclass(frozen=True, slots=True)
class Tool(ABC):
    """One tool, and the object by which it follows the stage of these tests."""

    cluster: Cluster
    manifests: Path
    """Folder of the rendered manifests."""

    name: ClassVar[str]
    system: ClassVar[str]
    """The tool's own namespace."""
    follower: ClassVar[str]
    """The kind by which it follows a stage."""

    def install(self) -> None:
        """Install it, and wait until it runs."""
        bodies = self._bodies()
        first = [body for body in bodies if body["kind"] in ("Namespace", "CustomResourceDefinition")]
        self.cluster.apply(*first)
        self.cluster.wait_for_kinds(*(body["metadata"]["name"] for body in first if body["kind"] != "Namespace"))
        self.cluster.apply(*(body for body in bodies if body not in first))
        for kind in ("deployment", "statefulset"):
            for item in self.cluster.list(kind, self.system):
                which = ("-n", self.system, f"{kind}/{item['metadata']['name']}")
                limit = f"--timeout={ROLLOUT_SECONDS}s"
                self.cluster.kubectl("rollout", "status", *which, limit, timeout=ROLLOUT_SECONDS + 9)

    def uninstall(self) -> None:
        """Take it away, with its CRDs, and with them whatever is of their kinds."""
        bodies = self._bodies()
        groups = {body["spec"]["group"] for body in bodies if body["kind"] == "CustomResourceDefinition"}
        # Without the CRDs nobody knows the others' kinds, and kubectl deletes nothing at all.
        known = yaml.dump_all(body for body in bodies if body["apiVersion"].partition("/")[0] not in groups)
        self.cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=known, timeout=300)

    def _bodies(self) -> list[Object]:
        # With libyaml: a megabyte of CRDs takes long otherwise.
        return list(yaml.load_all((self.manifests / f"{self.name}.yaml").read_text(), yaml.CSafeLoader))

    def read(self) -> Object:
        """Return the object by which it follows the stage, with what it says."""
        found = self.cluster.get(self.follower, FOLLOWED, self.system)
        assert found is not None, f"{self.follower} {FOLLOWED} is gone"
        return found

    @abstractmethod
    def follow(self, url: str, namespace: str) -> None:
        """Follow the stage of these tests, by the example's own objects."""

    def unfollow(self) -> None:
        """Let go of the stage, while the tool runs that has to take its finalizer off."""
        self.cluster.delete(self.follower, FOLLOWED, self.system)

    @abstractmethod
    def report(self, commit: str) -> Report:
        """Return what it says of a commit."""

    @abstractmethod
    def differences(self) -> list[str]:
        """Return what it has found to differ from Git while it looked several times."""


class Flux(Tool):
    """source- and kustomize-controller."""

    name = "flux"
    system = "flux-system"
    follower = "kustomizations.kustomize.toolkit.fluxcd.io"

    def follow(self, url: str, namespace: str) -> None:
        source, *_, stage = example("flux")
        source["spec"] |= {"url": url, "interval": INTERVAL}
        stage["metadata"]["name"] = FOLLOWED
        stage["spec"] |= {"path": f"./{STAGE}", "interval": INTERVAL, "retryInterval": INTERVAL, "timeout": "15m"}
        self.cluster.apply(source, stage)

    def unfollow(self) -> None:
        Tool.unfollow(self)
        self.cluster.delete("gitrepositories.source.toolkit.fluxcd.io", "models", self.system)

    def report(self, commit: str) -> Report:
        return of_kustomization(self.read(), commit)

    def differences(self) -> list[str]:
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        time.sleep(LOOKS_SECONDS)
        log = ("logs", "-n", self.system, "deployment/kustomize-controller", f"--since-time={since}")
        looks = list(applied(self.cluster.kubectl(*log)))
        assert len(looks) >= 2, f"looked only {len(looks)} times"
        return [f"{name} {done}" for look in looks for name, done in look.items() if done != "unchanged"]


class ArgoCD(Tool):
    """Application controller, repo server, and their Redis."""

    name = "argocd"
    system = "argocd"
    follower = "applications.argoproj.io"

    def _bodies(self) -> list[Object]:
        bodies = Tool._bodies(self)
        named = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
        # Its API server, which is not part of this, would have made one.
        named["Secret", "argocd-secret"]["stringData"] = {"server.secretkey": secrets.token_hex(32)}
        # What it says of each object is kept in its Redis otherwise, for the API server to read.
        named["ConfigMap", "argocd-cmd-params-cm"]["data"] = {"controller.resource.health.persist": "true"}
        return bodies

    def follow(self, url: str, namespace: str) -> None:
        *_, stage = example("argocd")
        stage["metadata"]["name"] = FOLLOWED
        stage["spec"]["source"] |= {"repoURL": url, "path": STAGE}
        stage["spec"]["destination"]["namespace"] = namespace
        self.cluster.apply(stage)

    def report(self, commit: str) -> Report:
        return of_application(self.read(), commit)

    def differences(self) -> list[str]:
        operation = self.read()["status"]["operationState"]["startedAt"]
        for _ in range(2):
            self._look()
        status = self.read()["status"]
        found = [
            f"{item['kind']} {item['name']} {item['status']}"
            for item in status["resources"]
            if item["status"] != "Synced"
        ]
        # A difference that is healed at once is seen by the operation that healed it.
        again = status["operationState"]["startedAt"]
        return [*found, *([f"synced again at {again}"] if again != operation else [])]

    def _look(self) -> None:
        """Have it compare everything anew, with nothing from its caches, and wait until it has."""
        refresh = "argocd.argoproj.io/refresh"
        self.cluster.kubectl("annotate", "-n", self.system, self.follower, FOLLOWED, f"{refresh}=hard")
        deadline = time.monotonic() + LOOKS_SECONDS
        while refresh in self.read()["metadata"].get("annotations", {}):
            assert time.monotonic() < deadline, "it has not looked again"
            time.sleep(0.5)


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Flux, ArgoCD)}


def example(folder: str) -> list[Object]:
    """Return the objects by which the example is followed: the last one is production's."""
    return list(yaml.safe_load_all((EXAMPLE / folder / "models.yaml").read_text()))


def applied(log: str) -> Iterator[dict[str, str]]:
    """Yield object → what was done to it, for each time that kustomize-controller has applied everything."""
    for line in log.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("msg") == "server-side apply completed" and entry.get("name") == FOLLOWED:
            yield entry["output"]
