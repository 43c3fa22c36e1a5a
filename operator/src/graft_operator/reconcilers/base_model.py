"""Reconciles one BaseModel."""

from __future__ import annotations

from pydantic import ValidationError

from graft_operator.api.base_model import BaseModel, BaseModelStatus
from graft_operator.cluster.resources import BASE_MODELS, CONFIG_MAPS
from graft_operator.controller_runtime.controller import Result
from graft_operator.manifests.workloads.anchor import anchor_name, is_anchor
from graft_operator.plan.actions import DeleteObject
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
            for anchor, uid in self._former_anchors(namespace, name).items():
                await dependencies.cluster.delete(CONFIG_MAPS, namespace, anchor, uid=uid)
            return Result()
        async with dependencies.reporting_errors(BASE_MODELS, body, BaseModelStatus) as step:
            try:
                base = BaseModel.parse(body)
            except ValidationError as error:
                await dependencies.reporter.invalid(BASE_MODELS, body, error, BaseModelStatus, IN_USE_FINALIZER)
                return Result()
            return await self._step(step, base)
        return Result()  # it has gone meanwhile

    def _former_anchors(self, namespace: str, name: str, *, own: str = "") -> dict[str, str]:
        """Return names and uids of the anchors of former bases of this name: what they keep would stay for ever.

        Somebody has taken off the finalizer of one, or has brought all of them back from a backup.
        """
        found = self._dependencies.cache.names_for(CONFIG_MAPS, namespace, name)
        return {anchor: uid for anchor, uid in found.items() if is_anchor(anchor) and anchor != own}

    async def _step(self, step: Pass, base: BaseModel) -> Result:
        metadata, executor = base.metadata, self._dependencies.executor
        former = self._former_anchors(metadata.namespace, metadata.name, own=anchor_name(metadata))
        # Where one is refused, all else goes on; what it keeps and is in the way says so itself.
        ends = [DeleteObject("ConfigMap", anchor, uid) for anchor, uid in former.items()]
        (await executor.carry_out(BASE_MODELS, step.body, ends)).raise_problem()
        plan = plan_base(self._snapshots.of(base), self._dependencies.clock(), self._dependencies.platform)
        await step.carry_out(plan.actions)
        await step.carry_out(plan.extras)
        if isinstance(plan.status, BaseModelStatus):
            await step.report(base.status, plan.status)
        elif step.rejections:  # of its anchor's end, without which a base that is being deleted stays
            await step.report(base.status, base.status)
        step.raise_problem()
        return result_of(plan, *step.outcomes)
