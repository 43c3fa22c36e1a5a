"""Reconciles one LoraAdapter."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from pydantic import ValidationError

from graft_operator.api.adapter_status import LoraAdapterStatus, ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.cluster.resources import LORA_ADAPTERS
from graft_operator.engine.controller import Result
from graft_operator.manifests import naming
from graft_operator.manifests.merged_model import merged_model_manifests
from graft_operator.manifests.training_job import run_document, training_job_manifest
from graft_operator.plan.actions import CreateJob, Plan
from graft_operator.plan.adapter.deletion import CLEANUP_FINALIZER
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.rollout.merged import with_unended
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.failures import lowered_batch
from graft_operator.plan.training.job import adapter_as_trained, is_readaptation, new_version_reason
from graft_operator.reconcilers.adapter_observer import AdapterObserver
from graft_operator.reconcilers.context import Body, Context
from graft_operator.reconcilers.rejections import Outcome, result_of


class AdapterReconciler:
    """observe → plan → apply for adapters."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._observer = AdapterObserver(context.cluster, context.artifacts, context.agents)
        self._places: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        """Per base: two adapters must not both take the last place to be re-adapted."""

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring one adapter a step further."""
        context = self._context
        body = await context.cluster.get(LORA_ADAPTERS, namespace, name)
        if body is None:
            return Result()
        try:
            adapter = LoraAdapter.parse(body)
        except ValidationError as error:
            await context.refuse(LORA_ADAPTERS, body, error, LoraAdapterStatus, CLEANUP_FINALIZER)
            return Result()
        async with context.obstacles_told(LORA_ADAPTERS, body, LoraAdapterStatus):
            plan, (noticed, done) = await self._step(body, adapter)
        status = plan.status if isinstance(plan.status, LoraAdapterStatus) else adapter.status
        status = with_unended(adapter.status, status, done.rejections)
        await context.tell(LORA_ADAPTERS, body, adapter.status, status, done.rejections)
        return result_of(plan, noticed, done)

    async def _step(self, body: Body, adapter: LoraAdapter) -> tuple[Plan, tuple[Outcome, Outcome]]:
        effects = self._context.effects
        seen, plan = await self._decide(adapter)
        self._expect_news(seen, plan)
        noticed = self._notice(seen)
        if not starts_readaptation(seen, plan):
            return plan, (noticed, await effects.carry_out(LORA_ADAPTERS, body, plan.actions))
        async with self._places[adapter.metadata.namespace, adapter.spec.base_model_ref.name]:
            _, plan = await self._decide(adapter)
            return plan, (noticed, await effects.carry_out(LORA_ADAPTERS, body, plan.actions))

    async def _decide(self, adapter: LoraAdapter) -> tuple[AdapterSnapshot, Plan]:
        seen = await self._observer.observe(adapter)
        return seen, plan_adapter(
            seen, self._context.clock(), training_job=self._training_job, merged_model=self._merged_model
        )

    def _notice(self, seen: AdapterSnapshot) -> Outcome:
        """Apply what serves the merged model again where somebody else has edited or deleted it."""
        effects, metadata, live = self._context.effects, seen.adapter.metadata, seen.merged_deployment
        if live is not None:
            return effects.notice(metadata.namespace, (live,))
        effects.forget("Deployment", metadata.namespace, naming.merged_name(metadata.name))
        return Outcome()

    def _expect_news(self, seen: AdapterSnapshot, plan: Plan) -> None:
        """While a version is on its way to the pods, look again as soon as one of them has gone a step further."""
        if isinstance(plan.status, LoraAdapterStatus) and plan.status.candidate_version is not None:
            metadata = seen.adapter.metadata
            revisions = {pod.name: pod.revision for pod in seen.pods}
            self._context.agents.expect_news(metadata.namespace, metadata.name, revisions)

    def _merged_model(self, seen: AdapterSnapshot, base: BaseModel, version: ServedVersion) -> list[dict[str, Any]]:
        return merged_model_manifests(seen.adapter, base, version, self._context.platform)

    def _training_job(self, seen: AdapterSnapshot) -> dict[str, Any]:
        base, platform = seen.training_base, self._context.platform
        if seen.base is None or base is None or seen.recipe is None:
            raise ValueError("a training Job needs a resolved base")
        adapter = adapter_as_trained(seen)
        run = run_document(
            adapter,
            base,
            recipe=seen.recipe,
            reason=new_version_reason(seen),
            dataset_digest=seen.dataset_digest,
            evaluation_digest=seen.evaluation_digest,
            platform=platform,
            warm_start=seen.warm_start,
        )
        return training_job_manifest(
            adapter,
            base,
            seen.base.metadata.uid,
            run,
            platform,
            lowered_batch=lowered_batch(seen),
            readapts=is_readaptation(seen),
        )


def starts_readaptation(seen: AdapterSnapshot, plan: Plan) -> bool:
    """Whether the plan starts a re-adaptation, of which a base allows only so many at a time."""
    starts = any(isinstance(action, CreateJob) for action in plan.actions)
    return starts and is_readaptation(seen)
