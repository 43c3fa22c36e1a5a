"""Gathers what the next step of a base depends on, its adapters included: from the cache, from what the registry and
the agents are known to say, and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from graft_operator.api.base_model import BaseModel
from graft_operator.api.conditions import PINNED, Condition, find, is_true
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.cluster import Cache
from graft_operator.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, INFERENCE_POOLS, JOBS, LORA_ADAPTERS, PODS
from graft_operator.manifests import labels
from graft_operator.manifests.naming import serving_name, short
from graft_operator.manifests.workloads.anchor import anchor_name
from graft_operator.plan.base.readaptation import behind_since, wants_readaptation
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.snapshot import AdapterOfBase, BaseSnapshot, GatewayObserved, PoolObserved
from graft_operator.reconcilers.one_pass import Dependencies
from graft_operator.reconcilers.snapshots.deployments import base_digest, deployment_observed
from graft_operator.reconcilers.snapshots.jobs import job_observed, job_state
from graft_operator.reconcilers.snapshots.serving_pods import (
    follow_agents,
    listed_pods,
    pod_observed,
    short_digest,
)
from graft_operator.reconcilers.snapshots.workloads import queueing_of
from graft_operator.routing import is_terminating
from graft_registry.documents import BaseDrift, BaseManifest, BaseSource

Object = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""
Read = tuple[AdapterOfBase, bool]
"""What a base needs of an adapter, and whether all of it could be read."""


class BaseSnapshots:
    """Gathers, for one base at a time."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._adapters_read: dict[Name, tuple[Any, Read]] = {}
        """What a base needs of each adapter, for the versions of adapter and base that it was read from."""

    def of(self, base: BaseModel) -> BaseSnapshot:
        """Return the snapshot of a base."""
        dependencies, metadata = self._dependencies, base.metadata
        source = BaseSource.model_validate(base.spec.source.to_wire())
        adapters, unreadable = self._adapters(base)
        anchor = anchor_uid(dependencies.cache, base)
        if metadata.is_deleting and not adapters:
            return BaseSnapshot(base=base, source_digest=source.digest(), anchor_uid=anchor)
        deployments = self._deployments(base)
        bodies = listed_pods(dependencies.cache, metadata)
        pods = follow_agents(dependencies.agents, [body for body in bodies if not is_terminating(body)])
        leaving = follow_agents(dependencies.agents, [body for body in bodies if is_terminating(body)])
        manifest = dependencies.artifacts.resolved_base(metadata.namespace, metadata.name, source)
        found = manifest.value if isinstance(manifest, Known) else None
        needed = needed_digests(base, adapters, deployments) - ({found.digest} if found else set())
        answers = self._manifests(base, needed)
        manifests = {digest: item.value for digest, item in answers.items() if isinstance(item, Known) and item.value}
        manifests |= {found.digest: found} if found else {}
        jobs = self._jobs(base)
        events_of = partial(dependencies.cache.events_of, metadata.namespace)
        by_short = {short(digest): digest for digest in needed | manifests.keys()}
        return BaseSnapshot(
            base=base,
            source_digest=source.digest(),
            manifest=manifest,
            store_report=dependencies.artifacts.store_report(),
            drift=self._drift(base, found),
            manifests=manifests,
            lost_bases=lost(answers),
            wanted=self._wanted(base),
            import_job=jobs.get("import"),
            concurrency_job=jobs.get("concurrency-test"),
            adapters=adapters,
            unreadable=unreadable,
            deployments=tuple(deployment_observed(body, pods, events_of) for body in deployments),
            pods=tuple(pod_observed(pod, by_short.get(short_digest(pod.body), ""), None) for pod in pods),
            leaving_pods=tuple(pod_observed(pod, by_short.get(short_digest(pod.body), ""), None) for pod in leaving),
            gateway=gateway_observed(dependencies.cache, base),
            anchor_uid=anchor,
        )

    def forget(self, namespace: str, name: str) -> None:
        """Forget a base that is gone."""
        self._dependencies.artifacts.forget_base(namespace, name)
        gone = [key for key, (read_from, _) in self._adapters_read.items() if read_from[1:2] == ((namespace, name),)]
        for key in gone:
            del self._adapters_read[key]

    def _adapters(self, base: BaseModel) -> tuple[tuple[AdapterOfBase, ...], frozenset[str]]:
        """Return the adapters of the base, and the names of those that can't be read."""
        names = self._dependencies.cache.adapters_of(base.metadata.namespace, base.metadata.name)
        found = [item for name in names if (item := self._adapter(name, base)) is not None]
        return tuple(adapter for adapter, _ in found), frozenset(item.name for item, readable in found if not readable)

    def _adapter(self, name: Name, base: BaseModel) -> Read | None:
        """Return what the base needs of an adapter; read anew only where it, a Job of it or the base is another."""
        cache = self._dependencies.cache
        version = cache.version(LORA_ADAPTERS, *name)
        jobs = cache.owned_versions(JOBS, name[0], version[0]) if version else frozenset()
        resolved = base.status.resolved.digest if base.status.resolved else None
        identity = (base.metadata.namespace, base.metadata.name, base.metadata.uid)
        read_from = (version, identity, resolved, base.spec.readaptation, jobs)
        known = self._adapters_read.get(name)
        if known is not None and known[0] == read_from:
            return known[1]
        body = cache.get(LORA_ADAPTERS, *name)
        if body is None:
            self._adapters_read.pop(name, None)
            return None
        read = adapter_of_base(body, base, readapting=self._readapts(name, base))
        self._adapters_read[name] = (read_from, read)
        return read

    def _readapts(self, name: Name, base: BaseModel) -> bool:
        """Whether a training Job is active that was made because the base has changed."""
        version = self._dependencies.cache.version(LORA_ADAPTERS, *name)
        jobs = self._dependencies.cache.owned(JOBS, name[0], version[0]) if version else []
        return any(
            job_state(job)[0] == "Active"
            and job["metadata"]["labels"].get(labels.READAPTATION) == "true"
            and job["metadata"]["labels"].get(labels.BASE_UID) == base.metadata.uid
            for job in jobs
        )

    def _wanted(self, base: BaseModel) -> dict[str, Mapping[str, Any]]:
        """Return what is written for the pods of each base that is served."""
        namespace, written = base.metadata.namespace, self._dependencies.written_sets
        return {item.digest: written.of(namespace, item.deployment).document for item in base.status.serving}

    def _deployments(self, base: BaseModel) -> list[Object]:
        bodies = self._dependencies.cache.owned(DEPLOYMENTS, base.metadata.namespace, base.metadata.uid, "serving")
        return [body for body in bodies if not is_terminating(body)]

    def _jobs(self, base: BaseModel) -> dict[str, JobObserved]:
        """Return the newest Job of each component, of those that are the base's own."""
        cache, namespace, uid = self._dependencies.cache, base.metadata.namespace, base.metadata.uid
        newest: dict[str, Object] = {}
        jobs = cache.owned(JOBS, namespace, uid)
        for job in sorted(jobs, key=lambda job: str(job["metadata"].get("creationTimestamp", "")), reverse=True):
            if not is_terminating(job):
                newest.setdefault(job["metadata"]["labels"][labels.COMPONENT], job)
        observed = {}
        for component, own in newest.items():
            pods = cache.owned(PODS, namespace, uid, component)
            uids = [item["metadata"]["uid"] for item in (own, *pods)]
            events = {child: cache.events_of(namespace, child) for child in uids}
            observed[component] = replace(job_observed(own, pods, events), queueing=queueing_of(own, cache))
        return observed

    def _drift(self, base: BaseModel, manifest: BaseManifest | None) -> Known[BaseDrift] | Unknown:
        """Say how far a base is from the one that the status still knows: asked while the status moves to it."""
        resolved = base.status.resolved
        if manifest is None or resolved is None or manifest.digest == resolved.digest:
            return Known(None)
        namespace, name = base.metadata.namespace, base.metadata.name
        return self._dependencies.artifacts.base_drift(namespace, name, manifest.digest, resolved.digest)

    def _manifests(self, base: BaseModel, digests: Iterable[str]) -> dict[str, Known[BaseManifest] | Unknown]:
        """Return what the registry says of these bases; of those that are served already it is not asked."""
        served, metadata = {item.digest for item in base.status.serving}, base.metadata
        return {
            digest: self._dependencies.artifacts.base(metadata.namespace, metadata.name, digest)
            for digest in sorted(digests)
            if digest not in served
        }


def anchor_uid(cache: Cache, base: BaseModel) -> str:
    """Return the uid of the base's anchor; empty where there is none, or where we may not look for it any more.

    A namespace that is deleted takes our rights in it along, so that a deletion of ours would be refused for ever.
    """
    namespace, name = base.metadata.namespace, anchor_name(base.metadata)
    known = cache.version(CONFIG_MAPS, namespace, name) if cache.is_synced(CONFIG_MAPS, namespace) else None
    return known[0] if known is not None else ""


def gateway_observed(cache: Cache, base: BaseModel) -> GatewayObserved:
    """Return whether the cluster has InferencePools, and the one that is named as the base's Service."""
    namespace = base.metadata.namespace
    if cache.is_synced(INFERENCE_POOLS, namespace):
        body = cache.get(INFERENCE_POOLS, namespace, serving_name(base.metadata.name))
        return GatewayObserved(api="Served", pool=None if body is None else pool_observed(body))
    problem = cache.problem(INFERENCE_POOLS, namespace)
    if "(403)" in problem:
        return GatewayObserved(api="Forbidden")
    return GatewayObserved(api="Missing" if "(404)" in problem else "Unknown")


def lost(answers: Mapping[str, Known[BaseManifest] | Unknown]) -> dict[str, str]:
    """Return why bases can't be had, by digest. A registry that could not be asked says nothing of them."""
    words: dict[str, str] = {}
    for digest, answer in answers.items():
        if isinstance(answer, Unknown):
            words |= {digest: answer.message} if not answer.is_transient else {}
        elif answer.value is None:
            words[digest] = "its manifest is not in the registry"
    return words


def needed_digests(base: BaseModel, adapters: Iterable[AdapterOfBase], deployments: Iterable[Object]) -> set[str]:
    """Return the digest of every base that is, or has to be, served."""
    digests = {version.base_digest for adapter in adapters for version in (adapter.target, adapter.previous) if version}
    digests |= {base_digest(body) for body in deployments}
    if base.status.resolved is not None:
        digests.add(base.status.resolved.digest)
    return digests - {""}


def adapter_of_base(body: Object, base: BaseModel, *, readapting: bool = False) -> Read:
    """Return what the base needs to know of an adapter. Of one that can't be read that is only that it is there."""
    metadata = body["metadata"]
    try:
        adapter = LoraAdapter.parse(dict(body))
    except ValidationError:
        return AdapterOfBase(name=metadata["name"], deleting=is_terminating(body)), False
    status, spec = adapter.status, adapter.spec
    # A merged model stands on its own: the base's engine has nothing to load for it.
    serving, rolls_out = status.serving, status.serving.mode_in_force == "MultiAdapter"
    limits, told = spec.serving.rollout.effective_limits, find(status.conditions, "UpToDate")
    read = AdapterOfBase(
        name=metadata["name"],
        deleting=is_terminating(body),
        target=serving.version_served_as("MultiAdapter"),
        replicas=spec.serving.replicas,
        on_demand=spec.serving.residency == "OnDemand",
        previous=serving.previous if rolls_out else None,
        progress=serving.rollout if rolls_out else None,
        up_to_date=is_true(status.conditions, "UpToDate"),
        pinned=told is not None and told.reason == PINNED,
        wants_readaptation=wants_readaptation(adapter, base),
        readapting=readapting,
        behind_since=behind_since(adapter),
        stalled=is_true(status.conditions, "Stalled"),
        scores_probes=limits is not None and limits.judge_probes,
    )
    return read, True


def pool_observed(body: Object) -> PoolObserved:
    """Return the pool and what Gateways say of it."""
    metadata = body["metadata"]
    parents = body.get("status", {}).get("parents", [])
    return PoolObserved(
        uid=metadata["uid"],
        owner_uid=metadata.get("labels", {}).get(labels.OWNER_UID, ""),
        parents={
            gateway_name(parent["parentRef"]): tuple(map(Condition.model_validate, parent.get("conditions", [])))
            for parent in parents
        },
    )


def gateway_name(reference: Object) -> str:
    """Return the name of a Gateway, with its namespace where that need not be the pool's."""
    namespace = reference.get("namespace")
    return f"{namespace}/{reference['name']}" if namespace else str(reference["name"])
