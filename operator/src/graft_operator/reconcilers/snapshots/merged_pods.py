"""A merged model's Deployment and pods. They have no agent: Kubernetes' own readiness tells that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster import Cache
from graft_operator.cluster.resources import DEPLOYMENTS, PODS
from graft_operator.manifests import labels
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.plan.snapshot import DeploymentObserved, PodObserved, VersionOnPod
from graft_operator.reconcilers.snapshots.containers import pod_problem
from graft_operator.reconcilers.snapshots.deployments import deployment_observed
from graft_operator.routing import is_ready

Object = Mapping[str, Any]


def merged_pods(cache: Cache, adapter: ObjectMeta) -> tuple[PodObserved, ...]:
    """Return the pods of the adapter's merged model that are not on their way out."""
    bodies = cache.owned(PODS, adapter.uid, MERGED)
    observed = (merged_pod_observed(body) for body in bodies if not body["metadata"].get("deletionTimestamp"))
    return tuple(pod for pod in observed if pod is not None)


def merged_deployment(cache: Cache, adapter: ObjectMeta) -> DeploymentObserved | None:
    """Return the Deployment of the adapter's merged model; None where there is none, or one on its way out."""
    bodies = cache.owned(DEPLOYMENTS, adapter.uid, MERGED)
    there = [body for body in bodies if not body["metadata"].get("deletionTimestamp")]
    return deployment_observed(there[0], ()) if there else None


def merged_pod_observed(pod: Object) -> PodObserved | None:
    """Return what a pod serves and whether it answers; None for one that does not say which version it is for."""
    metadata = pod["metadata"]
    try:
        version = ServedVersion.model_validate_json(metadata.get("annotations", {}).get(labels.VERSION, ""))
    except ValidationError:
        return None
    ready, (reason, _, message) = is_ready(pod), pod_problem(pod).partition(": ")
    state = "Proven" if ready else "Failing" if reason else "Loading"
    return PodObserved(
        name=metadata["name"],
        base_digest=version.base_digest,
        ready=ready,
        reachable=ready,
        active={version.number: 100} if ready else {},
        versions=(
            VersionOnPod(number=version.number, digest=version.digest, state=state, reason=reason, message=message),
        ),
    )
