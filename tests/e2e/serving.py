"""The one base that the end-to-end tests serve: two replicas, started once, since an engine takes a minute to start."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from demo.client import Client, Load
from demo.cluster import Object
from demo.goals import serves_only_current
from tests.e2e.tenant import BASE, Tenant

REPLICAS = 2
ENGINE_SECONDS = 480.0
RATE = 8.0
"""Requests per second under load, on a machine of two cores that trains at the same time."""


@dataclass(slots=True, kw_only=True)
class Serving:
    """A served base, a client beside it, and what the base said before it had any adapter."""

    tenant: Tenant
    questions: Mapping[str, Sequence[str]]
    base_answers: list[str] = field(default_factory=list)
    start_seconds: float = 0.0

    def start(self) -> None:
        """Apply the base and wait until both replicas answer."""
        begun = time.monotonic()
        self.tenant.apply(self.tenant.base(replicas=REPLICAS))
        self.tenant.wait_for_base(serves_only_current, "served on both replicas", ENGINE_SECONDS)
        self.start_seconds = time.monotonic() - begun
        self.client.ensure()
        self.base_answers = self.texts(BASE, self.sample)

    @property
    def client(self) -> Client:
        """The pod that asks."""
        tenant = self.tenant
        return Client(tenant.cluster, tenant.namespace, tenant.environment.images["agent"])

    @property
    def url(self) -> str:
        """The Service that users call."""
        return f"http://graft-{BASE}.{self.tenant.namespace}.svc:8000"

    @property
    def sample(self) -> list[str]:
        """A few questions for comparing answers."""
        return list(self.questions["topic"][:12])

    def texts(self, model: str, questions: Sequence[str]) -> list[str]:
        """Return a model's answers, each of which must have come."""
        # One at a time: in a batch of another shape, a float may round the other way.
        answers = self.client.ask(self.url, {model: questions}, concurrency=1)[model]
        assert [answer.status for answer in answers] == [200] * len(questions), answers
        return [answer.text for answer in answers]

    def version_of(self, model: str) -> set[str]:
        """Return which versions answer a model, over several connections."""
        answers = self.client.ask(self.url, {model: self.sample})[model]
        return {answer.version for answer in answers}

    def load(self, *models: str, rate: float = RATE) -> AbstractContextManager[Load]:
        """Return a block during which the models are asked continuously."""
        asked = {model: self.questions.get(model, self.questions["topic"]) for model in models}
        return self.client.load(self.url, asked, rate=rate, concurrency=8)

    def wait_for_loaded_versions(self, adapter: str, wanted: list[int], timeout: float = 60.0) -> None:
        """Wait until every pod holds these versions of an adapter and no other."""
        begun = time.monotonic()
        while (loaded := self.loaded_versions(adapter)) != [wanted] * REPLICAS:
            assert time.monotonic() - begun < timeout, f"{adapter}: the pods hold {loaded}, not {wanted}"
            time.sleep(0.5)

    def loaded_versions(self, adapter: str) -> list[list[int]]:
        """Return per pod the numbers of the versions of an adapter that it holds."""
        numbers = []
        for state in self.tenant.agent_states():
            entries = [entry for entry in state["adapters"] if entry["name"] == adapter]
            numbers.append([version["number"] for entry in entries for version in entry["versions"]])
        return numbers

    def wait_rolled_out(self) -> None:
        """Wait until all pods are those of the base's current spec, and no other one is left."""
        self.tenant.wait_for_base(serves_only_current, "served by the current spec", ENGINE_SECONDS)
        [deployment] = self.deployments()
        name, limit = f"deployment/{deployment['metadata']['name']}", f"--timeout={ENGINE_SECONDS:.0f}s"
        self.tenant.cluster.kubectl(
            "rollout", "status", "-n", self.tenant.namespace, name, limit, timeout=ENGINE_SECONDS + 20
        )
        self.tenant.wait_for_base(serves_only_current, "served on all replicas", ENGINE_SECONDS)

    def deployments(self) -> list[Object]:
        """Return the Deployments of all revisions of the base."""
        return self.tenant.cluster.list("deployment", self.tenant.namespace, "graft.dev/component=serving")


def answered_by(report: Mapping[str, Any], model: str) -> set[str]:
    """Return the versions of a model that answered during a load, such as ``topic@v1``."""
    labels = {name.partition(" on ")[0] for name in report["versions"]}
    return {label for label in labels if label.startswith(f"{model}@")}


def assert_no_failures(report: Mapping[str, Any], at_least: int) -> None:
    """Check that the load was a real one and that every request of it was answered."""
    assert report["requests"] >= at_least
    assert report["failed"] == 0, report["failures"]
    assert report["wentBack"] == 0, f"a pod answered with an older version again: {report['versions']}"
