"""Plays the Deployment controller and the kubelets: pods with an address and an agent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.control_plane import DEPLOYMENTS, PODS, ApiClient, ApiError
from tests.control_plane.client import STRATEGIC
from tests.simulator.agent import Agent, HostileAgent
from tests.simulator.agent_server import AgentServer
from tests.simulator.jobs import COMPONENT, OWNER, RECIPE, now

Object = dict[str, Any]
WANTED: Final = "wanted.json"
NODE: Final = "simulated"
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class ServingPod:
    """A pod that this simulator has made."""

    name: str
    template: str
    agent: Agent | HostileAgent | None = None
    address: str = ""
    ready: bool = False


@dataclass(slots=True)
class Revision:
    """A Deployment and its pods, by name."""

    body: Object
    pods: dict[str, ServingPod] = field(default_factory=dict)
    refusal: str = ""
    """Why the API server takes no pod of it, such as a quota or a policy."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Serving:
    """Gives every Deployment its pods, and every pod the wanted set of its ConfigMap."""

    def __init__(self, client: ApiClient, server: AgentServer, *, load_seconds: float) -> None:
        self._client = client
        self._server = server
        self._load_seconds = load_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self.revisions: dict[Key, Revision] = {}
        self.wanted: dict[Key, str] = {}
        self.unschedulable: set[str] = set()
        """Namespaces whose pods find no node."""
        self.hostile: set[str] = set()
        """Namespaces whose pods are run by somebody who wants to harm the operator."""
        self.errors: list[str] = []

    async def observe_wanted(self, event: str, body: Object) -> None:
        """Take one event of the ConfigMaps' watch."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if event == "DELETED":
            self.wanted.pop(key, None)
            return
        text = (body.get("data") or {}).get(WANTED)
        if text is None or self.wanted.get(key) == text:
            return
        self.wanted[key] = text
        for pod in self.revisions[key].pods.values() if key in self.revisions else ():
            if isinstance(pod.agent, Agent):
                pod.agent.take_over(text)

    async def observe_deployment(self, event: str, body: Object) -> None:
        """Take one event of the Deployments' watch."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if event == "DELETED":
            revision = self.revisions.pop(key, None)
            for pod in list(revision.pods.values()) if revision else ():
                await self._remove(key, revision, pod)
            return
        revision = self.revisions.setdefault(key, Revision(body))
        revision.body = body
        await self._reconcile(key)

    async def kill_pod(self, key: Key, name: str) -> None:
        """Lose a pod; its Deployment makes another of the same name, with another uid and address."""
        revision = self.revisions[key]
        await self._remove(key, revision, revision.pods[name])
        await self._reconcile(key)

    def agents(self, namespace: str, base_digest: str) -> list[Agent]:
        """Return the ready agents that serve a base of a namespace."""
        found = (pod for (ns, _), item in self.revisions.items() if ns == namespace for pod in item.pods.values())
        return [
            pod.agent
            for pod in found
            if pod.ready and isinstance(pod.agent, Agent) and pod.agent.base_digest == base_digest
        ]

    async def _reconcile(self, key: Key) -> None:
        revision = self.revisions.get(key)
        if revision is None:
            return
        async with revision.lock:
            body = revision.body
            template = template_hash(body)
            wanted = {f"{key[1]}-{template}-{n}" for n in range(body["spec"].get("replicas", 1))}
            for name in sorted(wanted - revision.pods.keys()):
                await self._create(key, revision, name, template)
            if all(name in revision.pods and revision.pods[name].ready for name in wanted):
                for name in sorted(revision.pods.keys() - wanted):
                    await self._remove(key, revision, revision.pods[name])
            await self._write_status(key, revision, template)

    async def _create(self, key: Key, revision: Revision, name: str, template: str) -> None:
        namespace, deployment = key
        body = revision.body
        pod = revision.pods[name] = ServingPod(name, template)
        # As the Deployment's controller does it: pods belong to a ReplicaSet, whose name says which Deployment's it is.
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"{deployment}-{template}",
            "uid": f"{body['metadata']['uid']}-{template}",
            "controller": True,
        }
        metadata = body["spec"]["template"]["metadata"] | {"name": name, "ownerReferences": [owner]}
        fits = namespace not in self.unschedulable
        spec = body["spec"]["template"]["spec"] | ({"nodeName": NODE} if fits else {})
        try:
            await self._client.create(PODS, namespace, {"metadata": metadata, "spec": spec})
        except ApiError as error:
            if error.status != 409:
                del revision.pods[name]
                revision.refusal = error.message
                return
        revision.refusal = ""
        if not fits:
            await self._write_pod(namespace, name, {"conditions": [condition("PodScheduled", ok=False)]})
            return
        if body["metadata"]["labels"].get(COMPONENT) == "serving":
            pod.agent = self._agent(key, body, name)
            pod.address = await self._server.listen(pod.agent)
        pod.ready = pod.agent is None or isinstance(pod.agent, HostileAgent)
        await self._write_pod(namespace, name, pod_status(pod))
        if isinstance(pod.agent, Agent) and key in self.wanted:
            pod.agent.take_over(self.wanted[key])

    def _agent(self, key: Key, body: Object, name: str) -> Agent | HostileAgent:
        annotations = body["metadata"]["annotations"]
        if key[0] in self.hostile:
            manners = ("news", "news", "bulk", "bulk", "drip")
            return HostileAgent(name, annotations[RECIPE], manners[int(name.rpartition("-")[2]) % len(manners)])
        return Agent(
            name,
            annotations[OWNER],
            annotations[RECIPE],
            load_seconds=self._load_seconds,
            on_ready=lambda: self._later(self._became_ready(key, name)),
        )

    async def _became_ready(self, key: Key, name: str) -> None:
        pod = self.revisions[key].pods.get(name) if key in self.revisions else None
        if pod is None:
            return
        pod.ready = True
        await self._write_pod(key[0], name, pod_status(pod))
        await self._reconcile(key)

    async def _remove(self, key: Key, revision: Revision | None, pod: ServingPod) -> None:
        if revision is not None:
            revision.pods.pop(pod.name, None)
        if pod.address:
            await self._server.close(pod.address)
        await self._client.delete(PODS, key[0], pod.name, now=True)

    async def _write_pod(self, namespace: str, name: str, status: Object) -> None:
        try:
            await self._client.patch(
                PODS, namespace, name, {"status": status}, subresource="status", content_type=STRATEGIC
            )
        except ApiError as error:
            if error.status != 404:
                self.errors.append(f"status of pod {namespace}/{name}: {error}")

    async def _write_status(self, key: Key, revision: Revision, template: str) -> None:
        pods = list(revision.pods.values())
        ready = sum(pod.ready for pod in pods)
        status = {
            "observedGeneration": revision.body["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": sum(pod.template == template for pod in pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": len(pods) - ready or None,
            "conditions": [replica_failure(revision.refusal)] if revision.refusal else None,
        }
        live = revision.body.get("status", {})
        if all(live.get(name) == (value or None) for name, value in status.items()):
            return
        try:
            answer = await self._client.patch(DEPLOYMENTS, *key, {"status": status}, subresource="status")
            revision.body["status"] = answer["status"]
        except ApiError as error:
            if error.status != 404:
                self.errors.append(f"status of {key}: {error}")

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def template_hash(deployment: Object) -> str:
    """Return what tells two pod templates apart."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def pod_status(pod: ServingPod) -> Object:
    """Return the status of a pod that runs."""
    address = {"podIP": pod.address} if pod.address else {}
    conditions = [condition("PodScheduled", ok=True), condition("Ready", ok=pod.ready)]
    return {"phase": "Running", "startTime": now(), "conditions": conditions} | address


def replica_failure(message: str) -> Object:
    """Return the condition that the Deployment controller writes when the API server takes no pod."""
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}


def condition(kind: str, *, ok: bool) -> Object:
    """Return a condition of a pod."""
    found: Object = {"type": kind, "status": str(ok), "lastTransitionTime": now()}
    if kind == "PodScheduled" and not ok:
        found |= {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
    return found
