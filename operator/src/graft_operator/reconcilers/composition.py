"""Puts the reconcilers together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from graft_operator.agents import Agents
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.engine.controller import Result
from graft_operator.engine.keys import AdapterKey, BaseKey
from graft_operator.manifests.platform import Platform
from graft_operator.reconcilers.adapter import AdapterReconciler
from graft_operator.reconcilers.base_model import BaseModelReconciler
from graft_operator.reconcilers.context import Context
from graft_operator.reconcilers.effects import Effects
from graft_operator.settings import Settings

Clock = Callable[[], datetime]
Reconcile = Callable[[AdapterKey | BaseKey], Awaitable[Result]]


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
    )


def build(cluster: Cluster, artifacts: Artifacts, agents: Agents, settings: Settings, clock: Clock) -> Reconcile:
    """Return the function that reconciles any key."""
    context = Context(cluster, artifacts, agents, Effects(cluster, artifacts), platform_of(settings), clock)
    adapters, bases = AdapterReconciler(context), BaseModelReconciler(context)

    async def reconcile(key: AdapterKey | BaseKey) -> Result:
        match key:
            case AdapterKey(namespace, name):
                return await adapters.reconcile(namespace, name)
            case BaseKey(namespace, name):
                return await bases.reconcile(namespace, name)

    return reconcile
