"""Deployments as plans see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graft_operator.manifests import labels
from graft_operator.manifests.workloads.engine import ENGINE
from graft_operator.plan.engine_start import loading_message
from graft_operator.plan.snapshot import DeploymentObserved
from graft_operator.reconcilers.snapshots.pod_events import waiting_of
from graft_operator.reconcilers.snapshots.serving_pods import ServingPod, short_digest

Object = Mapping[str, Any]


def base_digest(deployment: Object) -> str:
    """Return the full digest of the base that a Deployment serves."""
    return str(deployment["metadata"].get("annotations", {}).get(labels.RECIPE, ""))


def deployment_observed(
    body: Object, pods: Iterable[ServingPod], events_of: Callable[[str], Iterable[Object]] = lambda uid: ()
) -> DeploymentObserved:
    """Return the Deployment and the first thing that stands in its way; ``events_of`` are those of a pod's UID."""
    metadata, status = body["metadata"], body.get("status", {})
    replicas = int(body["spec"].get("replicas", 1))
    observed = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    own = [pod for pod in pods if short_digest(pod.body) == metadata.get("labels", {}).get(labels.BASE_DIGEST)]
    problems = (problem for pod in own if (problem := problem_of(pod, events_of)))
    return DeploymentObserved(
        name=metadata["name"],
        uid=metadata["uid"],
        base_digest=base_digest(body),
        replicas=replicas,
        ready_replicas=int(status.get("availableReplicas", 0)) if observed else 0,
        settled=observed and counts == {replicas},
        message=refused_pods(status) or next(problems, ""),
    )


def refused_pods(status: Object) -> str:
    """Return why the API server takes no pod of the Deployment, such as a quota that is used up; empty if it does."""
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return ""


def problem_of(pod: ServingPod, events_of: Callable[[str], Iterable[Object]]) -> str:
    """Return why a serving pod is not ready, in its own words."""
    if problem := waiting_of(pod.body, events_of(pod.body["metadata"].get("uid", ""))):
        return problem
    state = pod.state
    if state is None or state.engine.state == "Ready":
        return ""
    message = state.engine.message
    if state.engine.state == "Starting":
        message = loading_message("it", message, started_time(pod.body, ENGINE))
    return f"engine {state.engine.state}: {message}".rstrip(": ")


def started_time(pod: Object, container: str) -> str:
    """Return since when a container of the pod runs; empty where it does not."""
    status = pod.get("status", {})
    for item in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())):
        if item.get("name") == container:
            return str((item.get("state", {}).get("running") or {}).get("startedAt") or "")
    return ""
