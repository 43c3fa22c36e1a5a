"""A merged model's Deployment and pods, and what the pods' agents say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster import Cache
from graft_operator.cluster.resources import DEPLOYMENTS
from graft_operator.manifests import labels
from graft_operator.manifests.workloads.agent import AGENT
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.plan.snapshot import DeploymentObserved, PodObserved, VersionOnPod
from graft_operator.reconcilers.snapshots.containers import WAITING_FOR_NODE, pod_problem
from graft_operator.reconcilers.snapshots.deployments import deployment_observed
from graft_operator.reconcilers.snapshots.pod_events import newest_scale_up
from graft_operator.reconcilers.snapshots.serving_pods import (
    Object,
    ServingPod,
    follow_agents,
    listed_pods,
    pod_observed,
)
from graft_operator.routing import is_terminating

TOLD = ("Proven", "Refused", "Failing")
"""States of which the agent knows more than what its pod's containers tell."""


def merged_pods(cache: Cache, agents: Agents, adapter: ObjectMeta) -> tuple[PodObserved, ...]:
    """Return the pods of the adapter's merged model that are not on their way out."""
    bodies = [body for body in listed_pods(cache, adapter, MERGED) if not is_terminating(body)]
    pods = follow_agents(agents, bodies)
    observed = (
        merged_pod_observed(pod, adapter.name, cache.events_of(adapter.namespace, pod.body["metadata"]["uid"]))
        for pod in pods
    )
    return tuple(pod for pod in observed if pod is not None)


def merged_deployment(cache: Cache, adapter: ObjectMeta) -> DeploymentObserved | None:
    """Return the Deployment of the adapter's merged model; None where there is none, or one on its way out."""
    bodies = cache.owned(DEPLOYMENTS, adapter.namespace, adapter.uid, MERGED)
    there = [body for body in bodies if not is_terminating(body)]
    return deployment_observed(there[0], ()) if there else None


def merged_pod_observed(pod: ServingPod, adapter: str, events: Iterable[Object] = ()) -> PodObserved | None:
    """Return what a pod serves, by its agent; None for one that does not say which version it was made for.

    A pod of a release in which they had none answers once it is ready, until its successor does. What keeps the engine
    from starting, its agent can't know: the version fails as its containers tell.
    """
    try:
        version = ServedVersion.model_validate_json(pod.body["metadata"].get("annotations", {}).get(labels.VERSION, ""))
    except ValidationError:
        return None
    observed = pod_observed(pod, version.base_digest, adapter)
    if observed.ready and not runs_agent(pod.body):
        own = VersionOnPod(number=version.number, digest=version.digest, state="Proven")
        return replace(observed, active={version.number: 100}, versions=(own,))
    reason, _, message = pod_problem(pod.body, newest_scale_up(events)).partition(": ")
    if not reason or any(told.state in TOLD for told in observed.versions):
        return observed
    state = "Pending" if reason == WAITING_FOR_NODE else "Failing"
    told = VersionOnPod(number=version.number, digest=version.digest, state=state, reason=reason, message=message)
    return replace(observed, versions=(told,))


def runs_agent(pod: Object) -> bool:
    """Whether an agent is among the pod's containers."""
    return any(container.get("name") == AGENT for container in pod.get("spec", {}).get("containers", ()))
