"""Reads everything that the next step of a base depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModel
from graft_operator.api.conditions import is_true
from graft_operator.api.rollout import RolloutSpec
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.discovery import Discovery
from graft_operator.cluster.resources import DEPLOYMENTS, JOBS, LORA_ADAPTERS, PODS
from graft_operator.manifests import labels
from graft_operator.manifests.naming import short
from graft_operator.plan.snapshot import AdapterOfBase, BaseSnapshot, JobObserved
from graft_operator.reconcilers.deployments import base_digest, deployment_observed
from graft_operator.reconcilers.gateway_observer import GatewayObserver
from graft_operator.reconcilers.jobs import job_observed
from graft_operator.reconcilers.serving_pods import (
    ServingPod,
    asked,
    is_leaving,
    listed_pods,
    pod_observed,
    short_digest,
)
from graft_registry.documents import BaseDrift, BaseManifest, BaseSource
from graft_registry.errors import NotFound as BaseNotFound

Object = Mapping[str, Any]


class BaseObserver:
    """Reads, for one base at a time."""

    def __init__(self, cluster: Cluster, artifacts: Artifacts, agents: Agents, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._artifacts = artifacts
        self._agents = agents
        self._gateway = GatewayObserver(cluster, Discovery(cluster, clock))

    async def observe(self, base: BaseModel) -> BaseSnapshot:
        """Return the snapshot. Raises what the cluster and the registry raise when they are away."""
        source = BaseSource.model_validate(base.spec.source.to_wire())
        if base.metadata.is_deleting and not await self._adapters(base):
            # Nothing more is read: a registry that is away must not hold up the deletion of an unused base.
            return BaseSnapshot(base=base, source_digest=source.digest())
        manifest, adapters, deployments, (pods, going), jobs, gateway = await asyncio.gather(
            self._artifacts.resolved_base(base.metadata.namespace, base.metadata.name, source),
            self._adapters(base),
            self._deployments(base),
            self._pods(base),
            self._jobs(base),
            self._gateway.observe(base),
        )
        current = {manifest.digest: manifest} if manifest is not None else {}
        manifests = current | await self._manifests(base, needed_digests(base, adapters, deployments) - current.keys())
        by_short = {short(digest): digest for digest in manifests}
        spread = any(adapter.replicas is not None for adapter in adapters)
        leaving = await asked(self._agents, going) if spread else ()
        return BaseSnapshot(
            base=base,
            source_digest=source.digest(),
            manifest=manifest,
            conditional_writes=await self._artifacts.honours_conditional_writes(),
            drift=await self._drift(base, manifest),
            manifests=manifests,
            import_job=jobs.get("import"),
            concurrency_job=jobs.get("concurrency-test"),
            adapters=adapters,
            deployments=tuple(deployment_observed(body, pods) for body in deployments),
            pods=tuple(pod_observed(pod, by_short.get(short_digest(pod.body), ""), None) for pod in pods),
            leaving_pods=tuple(pod_observed(pod, by_short.get(short_digest(pod.body), ""), None) for pod in leaving),
            gateway=gateway,
        )

    async def _adapters(self, base: BaseModel) -> tuple[AdapterOfBase, ...]:
        selector = f"spec.baseModelRef.name={base.metadata.name}"
        bodies = await self._cluster.list(LORA_ADAPTERS, base.metadata.namespace, field_selector=selector)
        return tuple(adapter_of_base(body, base) for body in bodies)

    async def _deployments(self, base: BaseModel) -> list[Object]:
        selector = f"{labels.OWNER_UID}={base.metadata.uid},{labels.COMPONENT}=serving"
        bodies = await self._cluster.list(DEPLOYMENTS, base.metadata.namespace, label_selector=selector)
        return [body for body in bodies if not body["metadata"].get("deletionTimestamp")]

    async def _pods(self, base: BaseModel) -> tuple[tuple[ServingPod, ...], list[Object]]:
        """Return the base's pods, asked, and those on their way out as they are: few bases need what these say."""
        bodies = await listed_pods(self._cluster, base.metadata)
        staying = await asked(self._agents, [body for body in bodies if not is_leaving(body)])
        return staying, [body for body in bodies if is_leaving(body)]

    async def _jobs(self, base: BaseModel) -> dict[str, JobObserved]:
        """Return the newest Job of each component, of those that are the base's own."""
        owned = f"{labels.OWNER_UID}={base.metadata.uid}"
        jobs = await self._cluster.list(JOBS, base.metadata.namespace, label_selector=owned)
        newest: dict[str, Object] = {}
        for job in sorted(jobs, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), reverse=True):
            if not job["metadata"].get("deletionTimestamp"):
                newest.setdefault(job["metadata"]["labels"][labels.COMPONENT], job)
        observed = {}
        for component, own in newest.items():
            selector = f"{owned},{labels.COMPONENT}={component}"
            pods = await self._cluster.list(PODS, base.metadata.namespace, label_selector=selector)
            observed[component] = job_observed(own, pods)
        return observed

    async def _drift(self, base: BaseModel, manifest: BaseManifest | None) -> BaseDrift | None:
        """Ask how far a base is from the one that the status still knows: once, while the status moves to it."""
        resolved = base.status.resolved
        if manifest is None or resolved is None or manifest.digest == resolved.digest:
            return None
        namespace, name = base.metadata.namespace, base.metadata.name
        return await self._artifacts.base_drift(namespace, name, manifest.digest, resolved.digest)

    async def _manifests(self, base: BaseModel, digests: Iterable[str]) -> dict[str, BaseManifest]:
        """Read the manifests of these bases, as far as the registry has them."""
        found: dict[str, BaseManifest] = {}
        for digest in digests:
            try:
                found[digest] = await self._artifacts.base(base.metadata.namespace, base.metadata.name, digest)
            except BaseNotFound:
                continue
        return found


def needed_digests(base: BaseModel, adapters: Iterable[AdapterOfBase], deployments: Iterable[Object]) -> set[str]:
    """Return the digest of every base that is, or has to be, served."""
    digests = {version.base_digest for adapter in adapters for version in (adapter.target, adapter.previous) if version}
    digests |= {base_digest(body) for body in deployments}
    if base.status.resolved is not None:
        digests.add(base.status.resolved.digest)
    return digests - {""}


def adapter_of_base(body: Object, base: BaseModel) -> AdapterOfBase:
    """Return what the base needs to know of an adapter; one with an unreadable status is as one without any."""
    try:
        status = LoraAdapterStatus.model_validate(body.get("status", {}))
    except ValidationError:
        status = LoraAdapterStatus()
    # A merged model stands on its own: the base's engine has nothing to load for it.
    serving, rolls_out = status.serving, status.serving.mode_in_force == "MultiAdapter"
    wanted = body["spec"].get("serving") or {}
    resolved, target = base.status.resolved, status.serving.target
    moves = base.spec.readaptation.policy != "Never"
    behind = moves and target is not None and resolved is not None and target.base_digest != resolved.digest
    return AdapterOfBase(
        name=body["metadata"]["name"],
        deleting="deletionTimestamp" in body["metadata"],
        target=serving.version_served_as("MultiAdapter"),
        replicas=wanted.get("replicas"),
        on_demand=wanted.get("residency") == "OnDemand",
        previous=serving.previous if rolls_out else None,
        progress=serving.rollout if rolls_out else None,
        up_to_date=is_true(status.conditions, "UpToDate"),
        readapting=behind and status.training is not None,
        stalled=is_true(status.conditions, "Stalled"),
        scores_probes=scores_probes(body["spec"]),
    )


def scores_probes(spec: Object) -> bool:
    """Whether an adapter's limits depend on how its versions answer probes; those of an unreadable spec don't."""
    try:
        rollout = RolloutSpec.model_validate((spec.get("serving") or {}).get("rollout") or {})
    except ValidationError:
        return False
    limits = rollout.effective_limits
    return limits is not None and limits.judge_probes
