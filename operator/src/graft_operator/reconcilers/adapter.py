"""Reconciles one LoraAdapter."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.artifacts import RegistryError, RegistryUnavailable
from graft_operator.cluster.resources import LORA_ADAPTERS
from graft_operator.engine.controller import Result, TransientError
from graft_operator.engine.keys import AdapterKey
from graft_operator.plan.actions import DeleteVersions, Plan
from graft_operator.plan.adapter.deletion import CLEANUP_FINALIZER
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.rollout.merged import with_unended
from graft_operator.plan.training.versions import verdicts_to_record
from graft_operator.reconcilers.adapter_snapshot import AdapterSnapshots
from graft_operator.reconcilers.passes import Pass, Passes
from graft_operator.reconcilers.rejections import result_of

log = logging.getLogger(__name__)

Body = Mapping[str, Any]


class AdapterReconciler:
    """snapshot → plan → apply for adapters."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        self._snapshots = AdapterSnapshots(passes)
        self._cleanup_problems: dict[str, str] = {}
        """By uid: why the versions of an adapter that is being deleted could not be deleted yet."""

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one adapter a step further."""
        passes, key = self._passes, AdapterKey(namespace, name)
        body = passes.cache.get(LORA_ADAPTERS, namespace, name)
        if body is None:
            self._snapshots.forget(key)
            return Result()
        async with passes.one(LORA_ADAPTERS, body, LoraAdapterStatus) as step:
            try:
                adapter = LoraAdapter.parse(body)
            except ValidationError as error:
                await passes.reporter.invalid(LORA_ADAPTERS, body, error, LoraAdapterStatus, CLEANUP_FINALIZER)
                return Result()
            return await self._step(step, body, adapter)

    async def _step(self, step: Pass, body: Body, adapter: LoraAdapter) -> Result:
        seen = self._snapshots.of(adapter, self._cleanup_problems.get(adapter.metadata.uid, ""))
        plan = plan_adapter(seen, self._passes.clock(), self._passes.platform)
        if any(isinstance(action, DeleteVersions) for action in plan.actions):
            await self._delete_versions(step, plan, adapter)
            return result_of(plan, *step.outcomes)
        await step.carry_out(plan.actions)
        await step.carry_out(plan.extras)
        if isinstance(plan.status, LoraAdapterStatus):
            status = with_unended(adapter.status, plan.status, step.rejections)
            await step.report(adapter.status, status)
            self._record_verdicts(adapter, status)
        if plan.measures:
            self._snapshots.measure(seen)
        step.raise_problem()
        return result_of(plan, *step.outcomes)

    async def _delete_versions(self, step: Pass, plan: Plan, adapter: LoraAdapter) -> None:
        """Delete what is in the registry, and remember why that has failed: the plan gives up only after it has."""
        try:
            await step.carry_out(plan.actions)
            step.raise_problem()
        except (RegistryUnavailable, RegistryError) as error:
            self._cleanup_problems[adapter.metadata.uid] = str(error)
            raise
        self._cleanup_problems.pop(adapter.metadata.uid, None)

    def _record_verdicts(self, adapter: LoraAdapter, status: LoraAdapterStatus) -> None:
        """Have it recorded beside the versions which of them were given up, for a cluster that is built anew."""
        metadata = adapter.metadata
        for verdict in verdicts_to_record(status, self._passes.clock()):
            self._passes.artifacts.ensure_verdict(metadata.namespace, metadata.name, verdict)


