"""Reconciles one LoraAdapter."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.resources import LORA_ADAPTERS
from graft_operator.engine.controller import Result
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.training_job import run_document, training_job_manifest
from graft_operator.plan.actions import Plan, RemoveFinalizer
from graft_operator.plan.adapter import plan_adapter
from graft_operator.plan.deletion import CLEANUP_FINALIZER
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.training import new_version_reason
from graft_operator.plan.transitions import adapter_events
from graft_operator.reconcilers.adapter_observer import AdapterObserver
from graft_operator.reconcilers.effects import Effects
from graft_operator.reconcilers.invalid import invalid_conditions

log = logging.getLogger(__name__)


class AdapterReconciler:
    """observe → plan → apply for adapters."""

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
        self._observer = AdapterObserver(cluster, artifacts, agents)
        self._effects = effects
        self._platform = platform
        self._clock = clock
        self._places: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        """Per base: two adapters must not both take the last place to be re-adapted."""

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one adapter a step further."""
        body = await self._cluster.get(LORA_ADAPTERS, namespace, name)
        if body is None:
            return Result()
        try:
            adapter = LoraAdapter.parse(body)
        except ValidationError as error:
            return await self._refuse(body, error)
        async with self._places[namespace, adapter.spec.base_model_ref.name]:
            seen = await self._observer.observe(adapter)
            plan = plan_adapter(seen, self._clock(), training_job=self._training_job)
            await self._effects.carry_out(LORA_ADAPTERS, body, plan.actions)
        await self._tell(adapter, body, plan)
        return Result(requeue_after=plan.requeue_after)

    async def _tell(self, adapter: LoraAdapter, body: Mapping[str, Any], plan: Plan) -> None:
        if not isinstance(plan.status, LoraAdapterStatus):
            return
        if await self._effects.write_status(LORA_ADAPTERS, adapter.metadata, adapter.status, plan.status):
            await self._effects.carry_out(LORA_ADAPTERS, body, adapter_events(adapter.status, plan.status))

    def _training_job(self, seen: AdapterObserved) -> dict[str, Any]:
        base = seen.base
        if base is None or base.status.resolved is None or seen.recipe is None:
            raise ValueError("a training Job needs a resolved base")
        run = run_document(
            seen.adapter,
            base.status.resolved,
            recipe=seen.recipe,
            reason=new_version_reason(seen),
            dataset_digest=seen.dataset_digest,
            platform=self._platform,
        )
        return training_job_manifest(seen.adapter, base.status.resolved, base.metadata.uid, run, self._platform)

    async def _refuse(self, body: Mapping[str, Any], error: ValidationError) -> Result:
        """Say what is wrong with the spec; a changed spec comes back by its own event."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if metadata.is_deleting and CLEANUP_FINALIZER in metadata.finalizers:
            # Nobody can tell what it asked for any more; holding it back would hold its namespace back.
            await self._effects.carry_out(LORA_ADAPTERS, body, (RemoveFinalizer(CLEANUP_FINALIZER),))
            return Result()
        old = LoraAdapterStatus.model_validate(body.get("status", {}))
        conditions = invalid_conditions(metadata, old.conditions, error, self._clock())
        new = old.model_copy(update={"observed_generation": metadata.generation, "conditions": conditions})
        if await self._effects.write_status(LORA_ADAPTERS, metadata, old, new):
            await self._effects.carry_out(LORA_ADAPTERS, body, adapter_events(old, new))
        return Result()
