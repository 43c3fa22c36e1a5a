"""A team whose models lie in Git: what it commits, and what it then sees of the tool, the cluster and the adapter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demo.client import Client
from demo.cluster import Object, condition
from demo.goals import settled
from tests.e2e.tenant import ADAPTERS, BASES, Tenant
from tests.gitops.reports import Report, State
from tests.gitops.repository import ADAPTER, BASE, Repository
from tests.gitops.tools import Tool

PATIENCE = 600.0
POLL_SECONDS = 1.0
TOLERATIONS = [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
"""Without an operator: filled in by an API server, it would differ for ever in tools that compare whole lists."""
QUANTITIES = {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "4096Mi"}}
"""As people write them, not as Kubernetes does."""


@dataclass(slots=True, kw_only=True)
class Team:
    """One namespace, followed by one tool."""

    tool: Tool
    tenant: Tenant
    repository: Repository
    question: str
    told: list[Report] = field(default_factory=list)
    """What the tool has said of the newest commit, each once, in order."""

    def base_spec(self, source: str = "base-v1") -> Object:
        """Return the spec of a small base."""
        spec: Object = self.tenant.base(source, replicas=1, tolerations=TOLERATIONS)["spec"]
        return spec

    def adapter_spec(self, **spec: Any) -> Object:
        """Return the spec of an adapter that trains in seconds."""
        pod = {"resources": QUANTITIES, "tolerations": TOLERATIONS}
        found: Object = self.tenant.adapter(ADAPTER, **({"pod": pod} | spec))["spec"]
        return found | {"baseModelRef": {"name": BASE}}

    def wait_for(self, commit: str, state: State, *, timeout: float = PATIENCE) -> Report:
        """Wait until the tool says that of a commit; what it has said until then stays in ``told``."""
        self.told = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            report = self.tool.report(commit)
            if report not in self.told:
                self.told.append(report)
            if report.state == state:
                return report
            time.sleep(POLL_SECONDS)
        said = "\n".join(f"  {report.state}: {report.message}" for report in self.told)
        raise AssertionError(f"{commit[:8]} is not {state} after {timeout:.0f} s; it was said:\n{said}")

    def wait_done(self, commit: str, version: int) -> Object:
        """Wait until the tool says that a commit is done; then, and not before, the version must answer everywhere."""
        self.wait_for(commit, "Done")
        adapter = self.tenant.read(ADAPTER)
        assert settled(adapter), f"{self.tool.name} was done before the adapter: {adapter['status']['conditions']}"
        assert adapter["status"]["servedVersion"] == version
        assert self.answers() == f"{ADAPTER}@v{version}"
        return adapter

    def answers(self) -> str:
        """Ask the adapter through the Service; return which version has answered."""
        client = Client(self.tenant.cluster, self.tenant.namespace, self.tenant.environment.images["agent"])
        client.ensure()
        url = f"http://graft-{BASE}.{self.tenant.namespace}.svc:8000"
        [answer] = client.ask(url, {ADAPTER: [self.question]})[ADAPTER]
        assert answer.status == 200, answer
        return answer.version

    @property
    def states(self) -> list[State]:
        """What the tool has said of the newest commit."""
        return [report.state for report in self.told]

    def base(self) -> Object | None:
        """Return the base as the API server has it, or None."""
        return self.tenant.cluster.get(BASES, BASE, self.tenant.namespace)

    def adapter(self) -> Object | None:
        """Return the adapter as the API server has it, or None."""
        return self.tenant.cluster.get(ADAPTERS, ADAPTER, self.tenant.namespace)

    def base_is_held(self) -> bool:
        """Whether the base says that it goes after its last adapter."""
        return bool(condition(self.base(), "Reconciling").get("reason") == "DeletionBlocked")

    def generations(self) -> list[int]:
        """Return how often the specs of base and adapter were changed."""
        return [item["metadata"]["generation"] for item in (self.base(), self.adapter()) if item is not None]

    def rank(self) -> object:
        """Return the adapter's rank in the cluster."""
        return (self.adapter() or {}).get("spec", {}).get("lora", {}).get("rank")

    def served_base(self) -> object:
        """Return the digest of the base that the adapter is served on."""
        target = (self.adapter() or {}).get("status", {}).get("serving", {}).get("target") or {}
        return target.get("baseDigest")

    def wait_until(self, goal: Callable[[], bool], what: str, timeout: float = 180.0) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + timeout
        while not goal():
            assert time.monotonic() < deadline, f"not true after {timeout:.0f} s: {what}"
            time.sleep(POLL_SECONDS)
