"""Reconciles one LoraAdapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.artifacts import RegistryError, RegistryUnavailable
from graft_operator.cluster.resources import LORA_ADAPTERS
from graft_operator.controller_runtime.controller import Result
from graft_operator.controller_runtime.keys import AdapterKey
from graft_operator.plan.actions import DeleteVersions, Plan
from graft_operator.plan.adapter.deletion import CLEANUP_FINALIZER
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.rollout.merged import keep_serving_if_deletion_refused
from graft_operator.reconcilers.one_pass import Dependencies, Pass
from graft_operator.reconcilers.refused_children import result_of
from graft_operator.reconcilers.snapshots.adapter_snapshot import AdapterSnapshots
from graft_operator.reconcilers.verdict_recorder import VerdictRecorder

Body = Mapping[str, Any]


class AdapterReconciler:
    """snapshot → plan → apply for adapters."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._snapshots = AdapterSnapshots(dependencies)
        self._verdicts = VerdictRecorder(dependencies.artifacts, dependencies.clock)
        self._cleanup_problems: dict[AdapterKey, tuple[str, str]] = {}
        """Why the versions of an adapter that is being deleted could not be deleted yet, with its uid."""

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one adapter a step further."""
        dependencies, key = self._dependencies, AdapterKey(namespace, name)
        body = dependencies.cache.get(LORA_ADAPTERS, namespace, name)
        if body is None:
            self._snapshots.forget(key)
            self._cleanup_problems.pop(key, None)
            return Result()
        async with dependencies.reporting_errors(LORA_ADAPTERS, body, LoraAdapterStatus) as step:
            try:
                adapter = LoraAdapter.parse(body)
            except ValidationError as error:
                await dependencies.reporter.invalid(LORA_ADAPTERS, body, error, LoraAdapterStatus, CLEANUP_FINALIZER)
                return Result()
            return await self._step(step, body, adapter)
        return Result()  # it has gone meanwhile

    async def _step(self, step: Pass, body: Body, adapter: LoraAdapter) -> Result:
        seen = self._snapshots.of(adapter, self._cleanup_problem(adapter))
        plan = plan_adapter(seen, self._dependencies.clock(), self._dependencies.platform)
        if any(isinstance(action, DeleteVersions) for action in plan.actions):
            return await self._delete_versions(step, plan, adapter)
        await step.carry_out(plan.actions)
        await step.carry_out(plan.extras)
        if isinstance(plan.status, LoraAdapterStatus):
            status = keep_serving_if_deletion_refused(adapter.status, plan.status, step.rejections)
            await step.report(adapter.status, status)
            self._verdicts.record(adapter.metadata, adapter.status.versions, status.versions)
        if is_held_to_limits(plan.status):
            self._snapshots.measure(seen)
        step.raise_problem()
        return result_of(plan, *step.outcomes)

    async def _delete_versions(self, step: Pass, plan: Plan, adapter: LoraAdapter) -> Result:
        """Delete what is in the registry, and remember why that has failed: the plan gives up only after it has."""
        metadata = adapter.metadata
        key = AdapterKey(metadata.namespace, metadata.name)
        if isinstance(plan.status, LoraAdapterStatus):
            await step.report(adapter.status, plan.status)
        try:
            await step.carry_out(plan.actions)
            step.raise_problem()
        except (RegistryUnavailable, RegistryError) as error:
            is_first = not self._cleanup_problem(adapter)
            self._cleanup_problems[key] = metadata.uid, str(error)
            return Result(requeue_after=0.0 if is_first else plan.requeue_after)
        self._cleanup_problems.pop(key, None)
        return result_of(plan, *step.outcomes)

    def _cleanup_problem(self, adapter: LoraAdapter) -> str:
        metadata = adapter.metadata
        uid, problem = self._cleanup_problems.get(AdapterKey(metadata.namespace, metadata.name), ("", ""))
        return problem if uid == metadata.uid else ""


def is_held_to_limits(status: object) -> bool:
    """Whether a rollout is under way, so that pods have to be asked: they push news of states, but not of counters."""
    return isinstance(status, LoraAdapterStatus) and status.serving.rollout is not None
