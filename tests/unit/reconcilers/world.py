"""A small world around the reconcilers: Jobs train, versions get published, Deployments make pods, pods load.

Nothing is patched: the real reconcilers read and write a cluster and a registry that happen to be in memory, and the
pods decide with the serving agent's own pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.builders import NOW, PLATFORM, digest, version
from tests.unit.reconcilers.cluster_in_memory import ClusterInMemory
from tests.unit.reconcilers.merged_deployment import is_merged, merged_state, run_merged_deployments
from tests.unit.reconcilers.registry_of_world import RegistryOfWorld
from tests.unit.reconcilers.serving_pod import ServingPod

from graft_operator.agents import AgentState, PodAddress
from graft_operator.artifacts import Artifacts, InlineLookups
from graft_operator.cluster import Cache
from graft_operator.manifests import labels
from graft_operator.reconcilers import Dispatcher
from graft_operator.reconcilers.snapshots.serving_pods import deployment_of

PARITY = {"dtype": "float32", "tokens": 9, "meanKl": 0.0, "maxLogitDifference": 0.0, "argmaxAgreement": 1.0}
TICKS_TO_TRAIN = 3
TICKS_TO_IMPORT = 2
TICKS_TO_PREPARE = 2
TICKS = {"training": TICKS_TO_TRAIN, "preparation": TICKS_TO_PREPARE}
RESOLVE = "resolve"
SECONDS_PER_TICK = 100


class World:
    """Everything but the operator. One :meth:`tick` is what happens between two looks of the operator."""

    def __init__(self) -> None:
        self.cluster = ClusterInMemory()
        self.registry = RegistryOfWorld()
        self.pods: dict[str, ServingPod] = {}
        self.refuses: set[tuple[str, int]] = set()
        self.fails: set[tuple[str, int]] = set()
        """(adapter, number) of what the pods load, and what then fails."""
        self.answers_wrongly: set[tuple[str, int]] = set()
        """(adapter, number) of what answers every request, and no probe right."""
        self.losses: dict[int, float] = {}
        """Evaluation loss by version number; 1.0 where nothing is said."""
        self.training_fails: str | None = None
        """Reason in the termination message of every training that ends while it is set."""
        self.preparation_fails: str | None = None
        """Reason in the termination message of every preparation of rows that ends while it is set."""
        self.preparations_start = True
        """Whether some node takes the pods that prepare rows."""
        self.rows_that_fit: int | None = None
        """Rows per forward pass beyond which a training is out of memory."""
        self.rank_that_learns: int | None = None
        """Rank below which a training ends on a plateau, no better than the base."""
        self.contents: dict[str, str] = {}
        """Content of each adapter that was trained elsewhere, by the URI of its folder; "1" where nothing is said."""
        self.source_fails: str | None = None
        """Reason in the termination message of every look and every import that ends while it is set."""
        self.trained: list[tuple[str, str]] = []
        """(adapter, recipe) of every training that ran to its end."""
        self.now = NOW
        self._progress: dict[str, int] = {}
        self.restart_operator()

    def restart_operator(self) -> None:
        """Begin anew with what is stored and nothing in memory."""
        self.cache = Cache()
        self.artifacts = Artifacts(self.registry.store, lookups=InlineLookups(), clock=lambda: self.now.timestamp())
        parts: Any = (self.cluster, self.cache, self.artifacts, self, PLATFORM, lambda: self.now)
        self.reconcilers = Dispatcher(*parts, monotonic=lambda: self.now.timestamp())
        self.cache.on_change = self.reconcilers.invalidate
        self.cluster.watch(self.cache)

    def state(self, namespace: str, pod: str) -> AgentState | None:
        """Answer as the agent of the pod does."""
        return self.pods[pod].state() if pod in self.pods else merged_state(self.cluster, pod, self.refuses)

    def follow(self, pod: PodAddress) -> None:
        """Every round of a simulation looks at everything: nobody has to be told."""

    def unfollow(self, namespace: str, name: str) -> None:
        """Likewise."""

    def measure(self, namespace: str, name: str, *, adapter: str) -> None:
        """Likewise."""

    def tick(self) -> None:
        """Let every Job, Deployment and pod go one step, and the operator look after one version that is served."""
        self.now += timedelta(seconds=SECONDS_PER_TICK)
        self.artifacts.audit_next()
        for job in self.cluster.of_kind("Job"):
            is_ending = "deletionTimestamp" in job["metadata"]
            if not job.get("status") and not job["spec"].get("suspend") and not is_ending:
                self._work(job)
        self._run_deployments()
        for pod_name, pod in self.pods.items():
            deployment = deployment_of(self.cluster.objects["Pod", pod_name])
            config = self.cluster.objects.get(("ConfigMap", deployment))
            pod.tick(config["data"]["wanted.json"] if config else None)
        self._tell_of_pods()

    def _work(self, job: dict[str, Any]) -> None:
        uid = job["metadata"]["uid"]
        if job["metadata"]["labels"][labels.COMPONENT] == "preparation" and not self.preparations_start:
            self._wait(job)
            return
        done = self._progress[uid] = self._progress.get(uid, 0) + 1
        component = job["metadata"]["labels"][labels.COMPONENT]
        trains = component == "training"
        if done < TICKS.get(component, TICKS_TO_IMPORT):
            if component in TICKS:
                self.registry.tell_progress(job["metadata"]["annotations"][labels.OWNER_NAME], recipe_of(job))
            return
        if component == RESOLVE:
            self._look(job)
            return
        if component == "preparation":
            self._end(job, "Failed" if self.preparation_fails else "Complete", self.preparation_fails or "")
            return
        if not trains:
            container = job["spec"]["template"]["spec"]["containers"][0]
            request = next(item for item in container["env"] if item["name"] == "GRAFT_BASE_IMPORT")
            asked = json.loads(request["value"])
            self.registry.import_base(asked["source"]["s3"]["uri"][-1].upper(), asked.get("previousDigest"))
            self._end(job, "Complete", "")
            return
        run = json.loads(job["spec"]["template"]["metadata"]["annotations"][labels.RUN])
        if failure := self._failure_of(run):
            self._end(job, "Failed", failure)
            return
        self._publish(run)
        self._end(job, "Complete", "")

    def _wait(self, job: dict[str, Any]) -> None:
        """Let the Job have a pod that no node takes."""
        name, why = job["metadata"]["name"], "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}."
        if ("Pod", f"{name}-0") in self.cluster.objects:
            return
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        self.cluster.put(
            "Pod",
            f"{name}-0",
            metadata={
                "labels": {**job["metadata"]["labels"], "job-name": name},
                "creationTimestamp": self.now.isoformat(),
                "ownerReferences": [{"uid": job["metadata"]["uid"], "name": name}],
            },
            status={"phase": "Pending", "conditions": [unscheduled]},
        )

    def _look(self, job: dict[str, Any]) -> None:
        """Tell what a source holds, as the Job does that looks at it."""
        if self.source_fails:
            self._end(job, "Failed", self.source_fails)
            return
        environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
        asked = json.loads(next(item["value"] for item in environment if item["name"] == "GRAFT_ADAPTER_SOURCE"))
        self._end(job, "Complete", "", {"outcome": "Resolved", "digest": self.content_of(asked)})

    def content_of(self, location: dict[str, Any]) -> str:
        """Return the digest of what a source holds now."""
        uri = location["s3"]["uri"]
        return digest(f"{uri} {self.contents.get(uri, '1')}")

    def _failure_of(self, run: dict[str, Any]) -> str | None:
        if source := run["adapterSource"]:
            is_other = source["digest"] not in (None, self.content_of(source["source"]))
            return self.source_fails or ("SourceInvalid" if is_other else None)
        fits = self.rows_that_fit is None or run["training"]["batchSize"] <= self.rows_that_fit
        return self.training_fails or (None if fits else "OutOfMemory")

    def _publish(self, run: dict[str, Any]) -> None:
        name, recipe = run["adapter"], run["recipe"]
        self.trained.append((name, recipe))
        if self.registry.of_recipe(name, recipe) is not None:
            return
        number = max((number for adapter, number in self.registry.versions if adapter == name), default=0) + 1
        letter = self.registry.bases[run["base"]["digest"]].revision[-1]
        rank, loss = run["lora"]["rank"], self.losses.get(number, 1.0)
        if self.rank_that_learns is not None and rank < self.rank_that_learns:
            loss = 2.1
        source = run["adapterSource"]
        imported = {"source": source["source"], "digest": self.content_of(source["source"])} if source else None
        rows: dict[str, Any] = {} if run["dataset"] else {"dataset": None, "metrics": {}}
        metrics: dict[str, Any] = {"evalLoss": loss, "baseEvalLoss": 2.0, "trainLoss": loss, "lateImprovement": 0.0}
        stored = version(
            number,
            base=letter,
            recipe=recipe,
            adapter=name,
            reason=run["reason"],
            parent=run["parent"],
            warmStart=run["warmStart"],
            hyperparameters={"training": run["training"]},
            shape={"rank": rank, "alpha": 2 * rank, "targetModules": ["q_proj"]}
            | {"trainableParameters": 1, "allParameters": 2},
            merge=PARITY if run["serving"]["mode"] == "Merged" else None,
            imported=imported,
            **({"metrics": metrics} | rows),
        )
        self.registry.store_version(stored)

    def _end(self, job: dict[str, Any], outcome: str, reason: str, told: dict[str, Any] | None = None) -> None:
        condition = {"type": outcome, "status": "True", "lastTransitionTime": self.now.isoformat()}
        job["status"] = {"conditions": [condition]}
        if reason or told:
            said = json.dumps(told or {"outcome": "Failed", "reason": reason, "message": "it went wrong"})
            name = job["metadata"]["name"]
            self.cluster.put(
                "Pod",
                f"{name}-0",
                metadata={
                    "labels": {**job["metadata"]["labels"], "job-name": name},
                    "ownerReferences": [{"uid": job["metadata"]["uid"], "name": name}],
                },
                status={"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"message": said}}}]},
            )

    def _base_deployments(self) -> list[dict[str, Any]]:
        return [body for body in self.cluster.of_kind("Deployment") if not is_merged(body)]

    def _run_deployments(self) -> None:
        run_merged_deployments(self.cluster, self.refuses)
        for deployment in self._base_deployments():
            metadata = deployment["metadata"]
            for index in range(64):
                name = f"{metadata['name']}-{index}"
                wanted, there = index < deployment["spec"]["replicas"], name in self.pods
                if wanted and not there:
                    self.pods[name] = ServingPod(
                        name,
                        metadata["annotations"][labels.RECIPE],
                        self.refuses,
                        self.fails,
                        self.answers_wrongly,
                        slowness=index,
                    )
                    owner = {
                        "uid": metadata["uid"],
                        "kind": "ReplicaSet",
                        "name": f"{metadata['name']}-5d4f8",
                        "controller": True,
                    }
                    pod_labels = deployment["spec"]["template"]["metadata"]["labels"]
                    self.cluster.put("Pod", name, metadata={"labels": pod_labels, "ownerReferences": [owner]})
                elif there and not wanted:
                    self.kill_pod(name)
        self.pods = {name: pod for name, pod in self.pods.items() if ("Pod", name) in self.cluster.objects}

    def kill_pod(self, name: str) -> None:
        """Lose a pod; its Deployment makes another."""
        self.cluster.remove(("Pod", name))
        del self.pods[name]

    def _tell_of_pods(self) -> None:
        for name, pod in self.pods.items():
            body, ready = self.cluster.objects["Pod", name], {"type": "Ready", "status": str(pod.ready)}
            (before,) = body.get("status", {}).get("conditions") or [{}]
            is_same = before.get("status") == ready["status"]
            ready["lastTransitionTime"] = before["lastTransitionTime"] if is_same else self.now.isoformat()
            body["status"] = {"podIP": name, "conditions": [ready]}
        for deployment in self._base_deployments():
            own = [pod for name, pod in self.pods.items() if name.rpartition("-")[0] == deployment["metadata"]["name"]]
            ready_count = sum(pod.ready for pod in own)
            deployment["status"] = {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": len(own),
                "updatedReplicas": len(own),
                "availableReplicas": ready_count,
                "readyReplicas": ready_count,
            }


def recipe_of(job: Mapping[str, Any]) -> str:
    """Return the digest of what a Job does."""
    return str(job["metadata"]["annotations"][labels.RECIPE])
