"""Kopf as a source of events, and nothing more: handlers add keys to the queue.

Only `on.event` is used, so Kopf writes nothing to any object: no finalizer, no annotation, no status. See
docs/adr for why. Handlers must not await anything slow, since they run on the loop that also reads the watches.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from graft_operator import routing
from graft_operator.cluster.resources import BASE_MODELS, DEPLOYMENTS, JOBS, LORA_ADAPTERS, PODS, Resource
from graft_operator.engine.keys import Key
from graft_operator.engine.work_queue import WorkQueue
from graft_operator.manifests.labels import MANAGED_BY, MANAGER
from graft_operator.settings import Settings
from graft_operator.telemetry import metrics

_CHILDREN: Final = (JOBS, PODS, DEPLOYMENTS)

Body = Mapping[str, Any]


def register(
    registry: kopf.OperatorRegistry,
    queue: WorkQueue[Key],
    adapters: routing.AdaptersByBase,
    forget_pod: Callable[[str, str], None],
) -> None:
    """Register the handlers and the login.

    `adapters` is kept up to date from events. `forget_pod(namespace, name)` is called when a serving pod changed.
    """

    async def adapter_changed(event: Body, body: Body, **_: Any) -> None:
        _count(LORA_ADAPTERS.plural)
        deleted = event.get("type") == "DELETED"
        for key in routing.keys_of_adapter(adapters, body, deleted=deleted):
            queue.add(key)

    async def base_changed(event: Body, body: Body, **_: Any) -> None:
        _count(BASE_MODELS.plural)
        for key in routing.keys_of_base(adapters, body, deleted=event.get("type") == "DELETED"):
            queue.add(key)

    async def child_changed(body: Body, resource: kopf.Resource, **_: Any) -> None:
        _count(resource.plural)
        if resource.plural == PODS.plural and routing.is_serving_pod(body):
            forget_pod(body["metadata"]["namespace"], body["metadata"]["name"])
        if (owner := routing.owner_key(body)) is not None:
            queue.add(owner)

    kopf.on.login(registry=registry)(_login)
    kopf.on.event(*_selector(LORA_ADAPTERS), registry=registry)(adapter_changed)
    kopf.on.event(*_selector(BASE_MODELS), registry=registry)(base_changed)
    for child in _CHILDREN:
        kopf.on.event(*_selector(child), registry=registry)(child_changed)


async def watch(
    queue: WorkQueue[Key],
    adapters: routing.AdaptersByBase,
    forget_pod: Callable[[str, str], None],
    *,
    settings: Settings,
    stop: asyncio.Event,
) -> None:
    """Feed the queue from watches until `stop` is set or a signal comes. For the parameters see `register`.

    Kopf takes over SIGTERM and SIGINT and, when it ends, cancels every task that was created after its start. Start
    everything that should outlive it before.
    """
    registry = kopf.OperatorRegistry()
    register(registry, queue, adapters, forget_pod)
    await kopf.operator(
        registry=registry,
        settings=kopf_settings(settings),
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        standalone=True,
        stop_flag=stop,
    )


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return Kopf's settings, with timeouts on everything and server-side selectors on children."""
    tuned = kopf.OperatorSettings()
    # `labels=` of a handler filters on the client: every pod of the cluster would be streamed and parsed.
    for child in _CHILDREN:
        tuned.watching.label_selectors[_selector(child)] = f"{MANAGED_BY}={MANAGER}"
    tuned.watching.server_timeout = 240
    tuned.watching.client_timeout = 300
    tuned.watching.connect_timeout = 10
    tuned.watching.chunk_size = 500
    tuned.networking.request_timeout = 30
    # Our own reconcilers post events, on transitions only.
    tuned.posting.enabled = False
    # Auto-detection would freeze us for any stray peering object named "default".
    tuned.peering.standalone = True
    tuned.posting.reporting_component = "graft-operator"
    tuned.posting.reporting_instance = settings.identity
    return tuned


def _selector(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    # Kopf's own defaults would import the synchronous Kubernetes client.
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _count(plural: str) -> None:
    metrics.EVENTS.labels(plural).inc()
    metrics.LAST_EVENT_TIME.labels(plural).set_to_current_time()
