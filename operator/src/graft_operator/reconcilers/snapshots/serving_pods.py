"""The serving pods of a base and what their agents say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graft_operator.agents import Agents
from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.state import AdapterState, AgentState, LoadedVersion
from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster import Cache
from graft_operator.cluster.resources import DEPLOYMENTS, PODS
from graft_operator.manifests import labels
from graft_operator.manifests.workloads.serving import SERVING
from graft_operator.plan.rollout.measured import Measured
from graft_operator.plan.snapshot import Decision, PodObserved, ProbeScore, VersionOnPod
from graft_operator.routing import has_agent, is_ready, is_terminating, ready_condition

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """A pod as the API server sees it, and the answer of its agent."""

    body: Object
    answer: AgentState | Unreachable | None
    """None before its first answer."""

    @property
    def state(self) -> AgentState | None:
        """What the agent said, if it could be asked."""
        return self.answer if isinstance(self.answer, AgentState) else None


def serving_pods(cache: Cache, agents: Agents, base: ObjectMeta) -> tuple[ServingPod, ...]:
    """Return the base's pods that are not on their way out, with what their agents say."""
    return follow_agents(agents, [body for body in listed_pods(cache, base) if not is_terminating(body)])


def listed_pods(cache: Cache, owner: ObjectMeta, component: str = SERVING) -> list[Object]:
    """Return the pods of a base, or of a merged model, that have not ended, with those that are on their way out.

    Labels alone make no serving pod: anybody who may run pods can set them. It has to come from a Deployment of the
    owner.
    """
    names = {body["metadata"]["name"] for body in cache.owned(DEPLOYMENTS, owner.namespace, owner.uid, component)}
    bodies = cache.owned(PODS, owner.namespace, owner.uid, component)
    return [
        body
        for body in bodies
        if deployment_of(body) in names and body.get("status", {}).get("phase") not in ("Failed", "Succeeded")
    ]


def deployment_of(pod: Object) -> str:
    """Return the name of the Deployment whose ReplicaSet controls the pod; empty where none does."""
    owners = pod["metadata"].get("ownerReferences") or ()
    names = (owner["name"] for owner in owners if owner.get("controller") and owner.get("kind") == "ReplicaSet")
    return str(next(names, "")).rpartition("-")[0]


def follow_agents(agents: Agents, bodies: Sequence[Object]) -> tuple[ServingPod, ...]:
    """Return the pods with what their agents have last said, and have the agents followed."""
    for address in filter(None, map(address_of, bodies)):
        agents.follow(address)
    return tuple(
        ServingPod(body=body, answer=agents.state(body["metadata"]["namespace"], body["metadata"]["name"]))
        for body in bodies
    )


async def hear_agents(cache: Cache, agents: Agents, *, seconds: float) -> None:
    """Ask the agents of all serving pods, and wait for their first answers for at most so many seconds.

    With these answers most adapters are seen to be settled. Without them each would be looked up in the registry.
    """
    known = (cache.get(PODS, *name) for name in cache.names(PODS))
    pods = follow_agents(agents, [pod for pod in known if pod is not None and has_agent(pod)])
    deadline = asyncio.get_running_loop().time() + seconds
    silent = [pod.body["metadata"] for pod in pods if address_of(pod.body) is not None]
    while silent and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
        silent = [metadata for metadata in silent if agents.state(metadata["namespace"], metadata["name"]) is None]


def address_of(pod: Object) -> PodAddress | None:
    """Return where the pod's agent is to be asked; None before the pod has an address."""
    metadata, ip = pod["metadata"], pod.get("status", {}).get("podIP")
    if not ip:
        return None
    return PodAddress(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], ip=ip)


def pod_observed(
    pod: ServingPod, digest: str, adapter: str | None, decisions: Mapping[str, Decision] | None = None
) -> PodObserved:
    """Return the pod as the plans see it: for one adapter, or for all of them when ``adapter`` is None.

    ``decisions`` maps the digests of wanted sets to what they decide for that adapter.
    """
    state, address = pod.state, address_of(pod.body)
    adapters = adapters_on(state, adapter)
    return PodObserved(
        name=pod.body["metadata"]["name"],
        base_digest=digest,
        ready=is_ready(pod.body),
        reachable=state is not None,
        ready_time=ready_time(pod.body),
        host=address.host if address else "",
        leaving=is_terminating(pod.body),
        answering=frozenset(item.name for item in adapters if item.active),
        asked={item.name: item.last_asked for item in adapters if item.last_asked is not None},
        revision=state.revision if state else "",
        wanted_digest=state.wanted_digest if state else None,
        problem=state.message if state else "",
        decision=decision_on(state, adapter, decisions or {}),
        active={share.number: share.weight for item in adapters for share in item.active},
        versions=tuple(version for item in adapters for version in versions_on_pod(item)),
    )


def ready_time(pod: Object) -> datetime | None:
    """Return since when the pod is ready; None where it is not, or that is told in no way that can be read."""
    try:
        return datetime.fromisoformat(str((ready_condition(pod) or {}).get("lastTransitionTime")))
    except ValueError:
        return None


def decision_on(state: AgentState | None, adapter: str | None, decisions: Mapping[str, Decision]) -> Decision | None:
    """Return what the pod has been told of the adapter: its own echo of it, or what the set that it has decides."""
    if state is None or adapter is None:
        return None
    told = state.adapter(adapter)
    if told is not None and told.decision is not None:
        return told.decision.target, told.decision.previous, told.decision.weight
    return decisions.get(state.wanted_digest or "")


def adapters_on(state: AgentState | None, adapter: str | None) -> Sequence[AdapterState]:
    """Return what the pod says of one adapter, or of all of them; nothing where it says nothing."""
    if state is None or adapter is None:
        return state.adapters if state else ()
    found = state.adapter(adapter)
    return (found,) if found is not None else ()


def versions_on_pod(adapter: AdapterState) -> list[VersionOnPod]:
    """Return the versions of one adapter on one pod."""
    return [
        VersionOnPod(
            number=version.number,
            digest=version.manifest_digest,
            state=version.state,
            reason=version.reason,
            message=version.message,
            measured=Measured(version.measured.requests, version.measured.errors, version.measured.latency),
            score=score_of(version),
        )
        for version in adapter.versions
    ]


def score_of(version: LoadedVersion) -> ProbeScore | None:
    """Return how the version has answered probes, where the pod has asked it any."""
    told = version.probes
    return ProbeScore(told.of, told.total, told.asked, told.right) if told is not None else None


def short_digest(pod: Object) -> str:
    """Return the first hex digits of the base that the pod serves."""
    return str(pod["metadata"].get("labels", {}).get(labels.BASE_DIGEST, ""))
