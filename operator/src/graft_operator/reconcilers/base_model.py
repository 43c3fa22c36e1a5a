"""Reconciles one BaseModel."""

from __future__ import annotations

from pydantic import ValidationError

from graft_operator.api.base_model import BaseModel, BaseModelStatus
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS
from graft_operator.controller_runtime.controller import Result
from graft_operator.manifests import labels
from graft_operator.manifests.workloads.anchor import is_anchor
from graft_operator.plan.base.plan import IN_USE_FINALIZER, plan_base
from graft_operator.reconcilers.one_pass import Dependencies, Pass
from graft_operator.reconcilers.refused_children import result_of
from graft_operator.reconcilers.snapshots.base_snapshot import BaseSnapshots


class BaseModelReconciler:
    """snapshot → plan → apply for bases."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._snapshots = BaseSnapshots(dependencies)

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one base a step further."""
        dependencies = self._dependencies
        body = dependencies.cache.get(BASE_MODELS, namespace, name)
        if body is None:
            self._snapshots.forget(namespace, name)
            dependencies.executor.forget(BASE_MODELS.kind, namespace, name)
            await self._let_go(namespace, name)
            return Result()
        async with dependencies.reporting_errors(BASE_MODELS, body, BaseModelStatus) as step:
            try:
                base = BaseModel.parse(body)
            except ValidationError as error:
                await dependencies.reporter.invalid(BASE_MODELS, body, error, BaseModelStatus, IN_USE_FINALIZER)
                return Result()
            return await self._step(step, base)
        return Result()  # it has gone meanwhile

    async def _let_go(self, namespace: str, name: str, *, uid: str = "") -> None:
        """Delete the anchors of former bases of this name: somebody has taken off the finalizer of one.

        ``uid``: of the base that has the name now; empty where none has.
        """
        dependencies = self._dependencies
        for config_map in filter(is_anchor, dependencies.cache.named_for(CONFIG_MAPS, namespace, name)):
            metadata = config_map["metadata"]
            if metadata["labels"][labels.OWNER_UID] != uid:
                await dependencies.cluster.delete(CONFIG_MAPS, namespace, metadata["name"], uid=metadata["uid"])

    async def _step(self, step: Pass, base: BaseModel) -> Result:
        metadata = base.metadata
        if not metadata.is_deleting and IN_USE_FINALIZER not in metadata.finalizers:  # we see it for the first time
            await self._let_go(metadata.namespace, metadata.name, uid=metadata.uid)
        plan = plan_base(self._snapshots.of(base), self._dependencies.clock(), self._dependencies.platform)
        await step.carry_out(plan.actions)
        await step.carry_out(plan.extras)
        if isinstance(plan.status, BaseModelStatus):
            await step.report(base.status, plan.status)
        step.raise_problem()
        return result_of(plan, *step.outcomes)
