"""Reconciles one BaseModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.base_model import BaseModel, BaseModelStatus, ServingRevision
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.resources import BASE_MODELS
from graft_operator.engine.controller import Result
from graft_operator.manifests import naming
from graft_operator.manifests.access import access_manifests
from graft_operator.manifests.import_job import import_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.serving import revision_manifests, shared_service
from graft_operator.plan.actions import RemoveFinalizer
from graft_operator.plan.base_model import IN_USE_FINALIZER, Builders, plan_base_model
from graft_operator.plan.observed import BaseObserved
from graft_operator.plan.transitions import condition_events
from graft_operator.reconcilers.base_observer import BaseObserver
from graft_operator.reconcilers.effects import Effects
from graft_operator.reconcilers.invalid import invalid_conditions


class BaseModelReconciler:
    """observe → plan → apply for bases."""

    def __init__(
        self,
        cluster: Cluster,
        artifacts: Artifacts,
        agents: Agents,
        effects: Effects,
        platform: Platform,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self._observer = BaseObserver(cluster, artifacts, agents)
        self._effects = effects
        self._clock = clock
        self._builders = builders(platform)

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one base a step further."""
        body = await self._cluster.get(BASE_MODELS, namespace, name)
        if body is None:
            return Result()
        try:
            base = BaseModel.parse(body)
        except ValidationError as error:
            return await self._refuse(body, error)
        seen = await self._observer.observe(base)
        self._forget_missing(seen)
        plan = plan_base_model(seen, self._clock(), build=self._builders)
        await self._effects.carry_out(BASE_MODELS, body, plan.actions)
        if isinstance(plan.status, BaseModelStatus):
            await self._tell(base.metadata, body, base.status, plan.status)
        return Result(requeue_after=plan.requeue_after)

    def _forget_missing(self, seen: BaseObserved) -> None:
        """A Deployment that should be there and isn't was deleted by somebody: apply its whole revision again."""
        live = {deployment.name for deployment in seen.deployments}
        for revision in seen.base.status.serving:
            if revision.deployment not in live:
                self._effects.forget(seen.base.metadata.namespace, revision.deployment)

    async def _tell(
        self, metadata: ObjectMeta, body: Mapping[str, Any], old: BaseModelStatus, new: BaseModelStatus
    ) -> None:
        if await self._effects.write_status(BASE_MODELS, metadata, old, new):
            await self._effects.carry_out(BASE_MODELS, body, condition_events(old.conditions, new.conditions))

    async def _refuse(self, body: Mapping[str, Any], error: ValidationError) -> Result:
        """Say what is wrong with the spec; what is served stays served."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if metadata.is_deleting and IN_USE_FINALIZER in metadata.finalizers:
            # Nobody can tell what it asked for any more; holding it back would hold its namespace back.
            await self._effects.carry_out(BASE_MODELS, body, (RemoveFinalizer(IN_USE_FINALIZER),))
            return Result()
        old = BaseModelStatus.model_validate(body.get("status", {}))
        conditions = invalid_conditions(metadata, old.conditions, error, self._clock())
        new = old.model_copy(update={"observed_generation": metadata.generation, "conditions": conditions})
        await self._tell(metadata, body, old, new)
        return Result()


def builders(platform: Platform) -> Builders:
    """Return the manifest builders with the platform's settings filled in."""

    def import_job(seen: BaseObserved) -> dict[str, Any]:
        return import_job_manifest(seen.base, seen.source_digest, platform)

    def shared(seen: BaseObserved, revisions: Sequence[ServingRevision]) -> list[dict[str, Any]]:
        names = [revision.deployment for revision in revisions]
        return [*access_manifests(seen.base, names), shared_service(seen.base)]

    def revision(seen: BaseObserved, item: ServingRevision, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return revision_manifests(seen.base, item, wanted, platform)

    return Builders(
        import_job=import_job,
        shared=shared,
        revision=revision,
        deployment_name=naming.revision_name,
        service_url=naming.service_url,
    )
