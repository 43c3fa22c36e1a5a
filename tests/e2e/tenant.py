"""One team's namespace in the end-to-end tests: what it applies, what it waits for, what it finds in the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from demo import objects
from demo.bucket import Bucket
from demo.client import Client
from demo.cluster import Cluster, CommandFailedError, Object, holds
from demo.environment import Environment
from demo.goals import answers_with, resolved, settled, settled_on

ADAPTERS = "loraadapters.graft.dev"
BASES = "basemodels.graft.dev"
BASE = "tiny"
SOURCES = "e2e-sources"
TRAINING_SECONDS = 480.0
"""Patience for one training: two cores share everything."""
SMALL_TRAINING = {
    "maxSteps": 30,
    "batchSize": 8,
    "gradientAccumulation": 1,
    "learningRate": "3e-3",
    "maxSequenceLength": 96,
    "evalSteps": 30,
    "checkpointSeconds": 10,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A namespace of its own, and a prefix of the bucket that began empty."""

    cluster: Cluster
    bucket: Bucket
    namespace: str
    environment: Environment

    def open(self) -> None:
        """Make the namespace anew, with S3 credentials and nothing in the registry."""
        self.close()
        self.bucket.clear(f"{self.namespace}/")
        self.cluster.apply(objects.namespace(self.namespace))
        self.cluster.apply(objects.registry_secret(self.namespace, self.environment.storage))

    def close(self) -> None:
        """Delete the namespace with everything in it, finalizers or not."""
        if self.cluster.get("namespace", self.namespace) is None:
            return
        self.cluster.kubectl("delete", ADAPTERS, "--all", "-n", self.namespace, "--wait=false")
        self.cluster.kubectl("delete", BASES, "--all", "-n", self.namespace, "--wait=false")
        for kind in (ADAPTERS, BASES):
            for item in self.cluster.list(kind, self.namespace):
                self.release(kind, item["metadata"]["name"])
        # A namespace with pods in it is looked at again only after half of their longest grace period.
        everything = ("deployments,jobs,pods", "--all", "-n", self.namespace, "--timeout=180s")
        self.cluster.kubectl("delete", *everything, timeout=200)
        self.cluster.delete("namespace", self.namespace, "", "--timeout=300s")

    def release(self, kind: str, name: str) -> None:
        """Take the finalizers off an object that is being deleted."""
        try:
            patch = json.dumps({"metadata": {"finalizers": None}})
            self.cluster.kubectl("patch", kind, name, "-n", self.namespace, "--type=merge", "-p", patch)
        except CommandFailedError as error:
            if "NotFound" not in str(error):
                raise

    def token(self, account: str, audience: str = "") -> str:
        """Return a token of a ServiceAccount; without an audience it is for the API server."""
        wanted = (f"--audience={audience}",) if audience else ()
        return self.cluster.kubectl("create", "token", account, "-n", self.namespace, *wanted).strip()

    def client(self) -> Client:
        """Return a started pod that asks questions."""
        client = Client(self.cluster, self.namespace, self.environment.images["agent"])
        client.ensure()
        return client

    def base(self, source: str = "base-v1", **serving: Any) -> Object:
        """Return a BaseModel from one of the uploaded bases; without ``replicas`` nothing is served."""
        location = {"s3": {"uri": self.bucket.uri(f"{SOURCES}/{source}")}}
        return objects.base_model(self.namespace, BASE, location, serving={"replicas": 0, **serving})

    def adapter(self, name: str, *, rows: str = "topic", training: Object | None = None, **spec: Any) -> Object:
        """Return a LoraAdapter that trains in seconds; ``spec`` holds further fields, in the spec's own spelling."""
        settings = {
            "lora": {"rank": 8, "targetModules": ["all-linear"]},
            "training": SMALL_TRAINING | (training or {}),
            "evaluation": {"maxRegression": "2"},
            "serving": {"rollout": {"rollbackWindowSeconds": 0}},  # no test waits for minutes to see a version unloaded
            **spec,
        }
        dataset = settings.pop("dataset", {"s3": {"uri": self.bucket.uri(f"{SOURCES}/data/{rows}.small.jsonl")}})
        return objects.lora_adapter(self.namespace, name, BASE, dataset, settings)

    def apply(self, *bodies: Object) -> str:
        """Apply objects."""
        return self.cluster.apply(*bodies)

    def pin(self, name: str, number: int, *, timeout: float) -> float:
        """Have an adapter serve one of its versions, without training; return the seconds until every replica does.

        One that is there is watched from before the change on: a program that starts meanwhile takes time from engines.
        """
        is_there = self.cluster.get(ADAPTERS, name, self.namespace) is not None
        with closing(self.cluster.watch(ADAPTERS, self.namespace, timeout=timeout, name=name)) as events:
            if is_there:
                next(events)
            begun = time.monotonic()
            self.apply(self.adapter(name, version=number))
            reached = any(answers_with(number)(event.object) for event in events)
            seconds = time.monotonic() - begun
        assert reached, f"{name} does not serve version {number} after {timeout:.0f} s: {self.read(name)['status']}"
        return seconds

    def read(self, name: str) -> Object:
        """Return an adapter as the API server has it."""
        adapter = self.cluster.get(ADAPTERS, name, self.namespace)
        assert adapter is not None, f"LoraAdapter {name} is gone"
        return adapter

    def wait_for_adapter(
        self, name: str, goal: Callable[[Object], bool], what: str, timeout: float = TRAINING_SECONDS
    ) -> Object:
        """Wait until the goal is true of the adapter; return it."""

        def reached(seen: Mapping[str, Object]) -> bool:
            return name in seen and goal(seen[name])

        found = self.cluster.wait_for(
            ADAPTERS, self.namespace, reached, what=f"{name}: {what}", timeout=timeout, name=name
        )
        return found[name]

    def wait_settled(self, name: str, *, base_digest: str = "", timeout: float = TRAINING_SECONDS) -> Object:
        """Wait until the current spec's version is what there is to serve, and nothing else is going on."""
        goal = settled_on(base_digest) if base_digest else settled
        return self.wait_for_adapter(name, goal, "settled", timeout)

    def wait_stalled(self, name: str, timeout: float = TRAINING_SECONDS) -> Object:
        """Wait until the adapter says that a person has to act; return its condition Stalled."""
        adapter = self.wait_for_adapter(name, lambda seen: holds(seen, "Stalled"), "stalled", timeout)
        return next(entry for entry in adapter["status"]["conditions"] if entry["type"] == "Stalled")

    def wait_for_base(self, goal: Callable[[Object], bool], what: str, timeout: float = TRAINING_SECONDS) -> Object:
        """Wait until the goal is true of the base; return it."""

        def reached(seen: Mapping[str, Object]) -> bool:
            return BASE in seen and goal(seen[BASE])

        return self.cluster.wait_for(BASES, self.namespace, reached, what=f"base: {what}", timeout=timeout)[BASE]

    def wait_resolved(self) -> str:
        """Wait until the base's current source has a digest; return it."""
        digest = resolved(self.wait_for_base(lambda base: resolved(base) is not None, "resolved", 180))
        assert digest is not None
        return digest

    def training_jobs(self, adapter: str = "") -> list[str]:
        """Return the names of the training Jobs, of one adapter or of all."""
        jobs = self.cluster.list("job", self.namespace, "graft.dev/component=training")
        names = [str(job["metadata"]["name"]) for job in jobs]
        return [name for name in names if not adapter or name.startswith(f"{adapter}-train-")]

    def pods(self, component: str) -> list[Object]:
        """Return the pods of a component: serving, training or import."""
        return self.cluster.list("pod", self.namespace, f"graft.dev/component={component}")

    def stored(self, adapter: str) -> list[str]:
        """Return the keys of the adapter in the bucket."""
        return self.bucket.keys(f"{self.namespace}/adapters/{adapter}/")

    def versions(self, adapter: str) -> list[Object]:
        """Return the manifests of all versions of the adapter in the registry, the oldest first."""
        keys = self.bucket.keys(f"{self.namespace}/adapters/{adapter}/versions/")
        return [self.bucket.read_json(key) for key in sorted(keys) if key.endswith("/manifest.json")]

    def agent_states(self) -> list[Object]:
        """Return what the agent of every ready serving pod says (docs/contracts.md §7)."""
        pods = [pod["metadata"]["name"] for pod in self.pods("serving") if answers(pod)]
        path = "/api/v1/namespaces/{}/pods/{}:8090/proxy/state"
        return [json.loads(self.cluster.kubectl("get", "--raw", path.format(self.namespace, pod))) for pod in pods]


def answers(pod: Object) -> bool:
    """Whether a pod is ready and is to stay: one that has just been made has no address to ask at."""
    return "deletionTimestamp" not in pod["metadata"] and holds(pod, "Ready")
