"""Puts the reconcilers together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Fact
from graft_operator.artifacts import Artifacts
from graft_operator.cluster import Cache, Change, Cluster
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS, JOBS, LORA_ADAPTERS, PODS, USER_CONFIG_MAPS
from graft_operator.cluster.watching import first_unsynced
from graft_operator.controller_runtime.controller import Result
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key
from graft_operator.manifests import labels
from graft_operator.manifests.platform import NetworkAccess, Platform, Tracing
from graft_operator.reconcilers.adapter import AdapterReconciler
from graft_operator.reconcilers.base_model import BaseModelReconciler
from graft_operator.reconcilers.executor import ActionExecutor
from graft_operator.reconcilers.failure_conditions import not_watched, pass_cut_off
from graft_operator.reconcilers.one_pass import Dependencies
from graft_operator.reconcilers.reporting import Reporter
from graft_operator.reconcilers.snapshots.containers import own_end
from graft_operator.reconcilers.snapshots.dataset_digests import DatasetDigests
from graft_operator.reconcilers.snapshots.jobs import job_state
from graft_operator.reconcilers.snapshots.written_sets import WrittenSets
from graft_operator.routing import has_agent, is_terminating, owner_key
from graft_operator.settings import Settings

Clock = Callable[[], datetime]

UNREAD_SECONDS = 10.0
"""A namespace of which a kind can't be read is looked at again after so long."""


def platform_of(settings: Settings) -> Platform:
    """Return what the manifests need to know of the operator's settings."""
    return Platform(
        trainer_image=settings.trainer_image,
        agent_image=settings.agent_image,
        registry_image=settings.registry_image,
        engine_image=settings.engine_image,
        image_pull_policy=settings.image_pull_policy,
        registry=settings.registry.to_dict(),
        registry_secret_name=settings.registry_secret_name,
        engine_args=settings.engine_args,
        engine_env=settings.engine_env,
        network_access=network_access(settings),
        tenant_pods=settings.tenant_pods,
        tracing=Tracing(**settings.tracing.model_dump()) if settings.tracing else None,
        **{f"{name}_resources": resources for name, resources in settings.resources.items()},
    )


def network_access(settings: Settings) -> NetworkAccess | None:
    """Return who may reach serving pods; None where no NetworkPolicies are asked for."""
    policies = settings.network_policies
    if policies is None:
        return None
    return NetworkAccess(
        operator_namespace=settings.lease_namespace,
        client_namespaces=policies.client_namespaces,
        monitoring_namespaces=policies.monitoring_namespaces,
    )


class Dispatcher:
    """Reconciles any key."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        artifacts: Artifacts,
        agents: Agents,
        platform: Platform,
        clock: Clock,
        *,
        on_rows: Callable[[AdapterKey], None] = lambda key: None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """``on_rows`` is called for an adapter whose rows in a ConfigMap have been read."""
        executor = ActionExecutor(cluster, cache, artifacts, *([monotonic] if monotonic else []))
        self.dataset_digests = DatasetDigests(cluster, cache, on_rows)
        self._dependencies = Dependencies(
            cluster=cluster,
            cache=cache,
            artifacts=artifacts,
            agents=agents,
            dataset_digests=self.dataset_digests,
            executor=executor,
            reporter=Reporter(cluster, executor, clock),
            platform=platform,
            clock=clock,
            written_sets=WrittenSets(cache),
        )
        self.adapters = AdapterReconciler(self._dependencies)
        self.bases = BaseModelReconciler(self._dependencies)

    async def reconcile(self, key: Key) -> Result:
        """Bring one object a step further, unless a part of what is decided from can't be read in its namespace."""
        missing = first_unsynced(self._dependencies.cache, key.namespace)
        if missing is not None and not self._can_be_released(key):
            resource, why = missing
            await self._report(key, not_watched(resource.kind, why))
            return Result(requeue_after=UNREAD_SECONDS)
        if isinstance(key, AdapterKey):
            return await self.adapters.reconcile(key.namespace, key.name)
        return await self.bases.reconcile(key.namespace, key.name)

    def _can_be_released(self, key: Key) -> bool:
        """Whether the object is being deleted, and all is known that decides on its finalizer.

        So an operator that was denied other kinds in a namespace does not hold up the deletion of that namespace. But a
        base that adapters name is served, for which the rest has to be known: without its anchor it would be the only
        owner again of all that serves it.
        """
        cache, kind = self._dependencies.cache, LORA_ADAPTERS if isinstance(key, AdapterKey) else BASE_MODELS
        body = cache.get(kind, key.namespace, key.name)
        is_read = all(cache.is_synced(resource, key.namespace) for resource in (LORA_ADAPTERS, BASE_MODELS))
        is_held = isinstance(key, BaseKey) and bool(cache.adapters_of(key.namespace, key.name))
        return is_read and not is_held and body is not None and is_terminating(body)

    def invalidate(self, change: Change) -> Iterable[AdapterKey]:
        """Forget what a change has made stale; return the adapters whose rows it may have changed."""
        metadata, dependencies = change.body["metadata"], self._dependencies
        job: Mapping[str, Any] | None = None
        if change.resource == JOBS and has_ended(change):
            job = change.body
        elif change.resource == PODS and is_done(change):
            job = dependencies.cache.get(JOBS, metadata["namespace"], metadata.get("labels", {}).get("job-name", ""))
        if job is not None:
            self._job_ended(job)
        if change.resource == PODS and change.new is None and has_agent(change.body):
            dependencies.agents.unfollow(metadata["namespace"], metadata["name"])
        if change.resource in (USER_CONFIG_MAPS, CONFIG_MAPS):
            return dependencies.dataset_digests.readers(metadata.get("namespace", ""), metadata["name"])
        return ()

    def _job_ended(self, job: Mapping[str, Any]) -> None:
        """Have looked up again what the Job was for: before, there was nothing to find."""
        owner, annotations = owner_key(job), job["metadata"].get("annotations") or {}
        if isinstance(owner, AdapterKey):
            self._dependencies.artifacts.forget_recipe(owner.namespace, owner.name, annotations.get(labels.RECIPE, ""))
        elif isinstance(owner, BaseKey):
            self._dependencies.artifacts.forget_source(owner.namespace, owner.name)

    async def report_timeout(self, key: Key, seconds: float) -> None:
        """Say on the object that a pass over it was cut off."""
        await self._report(key, pass_cut_off(seconds))

    async def _report(self, key: Key, facts: dict[str, Fact]) -> None:
        if isinstance(key, AdapterKey):
            body = self._dependencies.cache.get(LORA_ADAPTERS, key.namespace, key.name)
            if body is not None:
                await self._dependencies.reporter.problem(LORA_ADAPTERS, body, LoraAdapterStatus, facts)
            return
        body = self._dependencies.cache.get(BASE_MODELS, key.namespace, key.name)
        if body is not None:
            await self._dependencies.reporter.problem(BASE_MODELS, body, BaseModelStatus, facts)


def is_done(change: Change) -> bool:
    """Whether a pod's container by which its Job is judged has just ended: the Job says so later, or never."""
    return change.new is not None and own_end(change.new) is not None and own_end(change.old or {}) is None


def has_ended(change: Change) -> bool:
    """Whether a Job that was active is not any more, or is gone."""
    was_active = change.old is not None and job_state(change.old)[0] == "Active"
    return was_active and (change.new is None or job_state(change.new)[0] != "Active")
