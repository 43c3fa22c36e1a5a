"""Reconciles one BaseModel."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from graft_operator.api.base_model import BaseModel, BaseModelStatus, ServingRevision
from graft_operator.cluster.errors import NotFound
from graft_operator.cluster.resources import BASE_MODELS
from graft_operator.engine.controller import Result, TransientError
from graft_operator.manifests import naming
from graft_operator.manifests.access import access_manifests
from graft_operator.manifests.concurrency_job import concurrency_job_manifest
from graft_operator.manifests.import_job import import_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.serving import pod_selector, revision_manifests, shared_service
from graft_operator.plan.actions import Action, Plan
from graft_operator.plan.base.plan import IN_USE_FINALIZER, Builders, plan_base
from graft_operator.plan.snapshot import BaseSnapshot
from graft_operator.reconcilers.base_observer import BaseObserver
from graft_operator.reconcilers.context import Body, Context
from graft_operator.reconcilers.rejections import Outcome, result_of

log = logging.getLogger(__name__)


class BaseModelReconciler:
    """observe → plan → apply for bases."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._observer = BaseObserver(context.cluster, context.artifacts, context.agents, context.clock)
        self._builders = builders(context.platform)

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one base a step further."""
        context = self._context
        body = await context.cluster.get(BASE_MODELS, namespace, name)
        if body is None:
            return Result()
        try:
            base = BaseModel.parse(body)
        except ValidationError as error:
            await context.refuse(BASE_MODELS, body, error, BaseModelStatus, IN_USE_FINALIZER)
            return Result()
        async with context.obstacles_told(BASE_MODELS, body, BaseModelStatus):
            seen = await self._observer.observe(base)
            self._forget_missing(seen)
            noticed = context.effects.notice(namespace, seen.deployments)
            plan = plan_base(seen, context.clock(), build=self._builders)
            self._expect_demand(seen, plan)
            done = await context.effects.carry_out(BASE_MODELS, body, plan.actions)
        beside, trouble = await self._try(body, plan.extras)
        status = plan.status if isinstance(plan.status, BaseModelStatus) else base.status
        await context.tell(BASE_MODELS, body, base.status, status, (*done.rejections, *beside.rejections))
        if trouble is not None:
            raise trouble
        return result_of(plan, noticed, done, beside)

    def _expect_demand(self, seen: BaseSnapshot, plan: Plan) -> None:
        """While an adapter is loaded on demand and has no place, look again as soon as it is asked."""
        if isinstance(plan.status, BaseModelStatus) and any(item.not_resident for item in plan.status.serving):
            metadata = seen.base.metadata
            revisions = {pod.name: pod.revision for pod in seen.pods}
            self._context.agents.expect_demand(metadata.namespace, metadata.name, revisions)

    async def _try(self, body: Body, actions: Sequence[Action]) -> tuple[Outcome, TransientError | None]:
        """Carry out what nothing else depends on; return what has gone wrong with it and may pass by itself."""
        try:
            return await self._context.effects.carry_out(BASE_MODELS, body, actions), None
        except NotFound as error:
            log.warning("the kind is gone", extra={"error": str(error)})
            return Outcome(), None
        except TransientError as error:
            return Outcome(), error

    def _forget_missing(self, seen: BaseSnapshot) -> None:
        """Apply again what should be there and isn't, because somebody has deleted it.

        A Deployment stands for its whole revision. An InferencePool goes with its CustomResourceDefinition.
        """
        metadata, gateway = seen.base.metadata, seen.gateway
        live = {deployment.name for deployment in seen.deployments}
        missing = [("Deployment", item.deployment) for item in seen.base.status.serving if item.deployment not in live]
        if seen.base.spec.serving.gateway is not None and gateway.api == "Served" and gateway.pool is None:
            missing.append(("InferencePool", naming.serving_name(metadata.name)))
        for kind, name in missing:
            self._context.effects.forget(kind, metadata.namespace, name)


def builders(platform: Platform) -> Builders:
    """Return the manifest builders with the platform's settings filled in."""

    def import_job(seen: BaseSnapshot) -> dict[str, Any]:
        return import_job_manifest(seen.base, seen.source_digest, platform)

    def concurrency_job(seen: BaseSnapshot, digest: str, adapters: list[str]) -> dict[str, Any]:
        return concurrency_job_manifest(seen.base, digest, adapters, platform)

    def shared(seen: BaseSnapshot, revisions: Sequence[ServingRevision]) -> list[dict[str, Any]]:
        names = [revision.deployment for revision in revisions]
        return [*access_manifests(seen.base, names), shared_service(seen.base)]

    def revision(seen: BaseSnapshot, item: ServingRevision, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return revision_manifests(seen.base, item, wanted, platform)

    def selector(seen: BaseSnapshot, item: ServingRevision) -> str:
        return pod_selector(seen.base, item)

    return Builders(
        import_job=import_job,
        concurrency_job=concurrency_job,
        shared=shared,
        revision=revision,
        pod_selector=selector,
        deployment_name=naming.revision_name,
        service_url=naming.service_url,
    )
