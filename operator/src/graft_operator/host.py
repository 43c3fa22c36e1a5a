"""Kopf as the host of the process, and nothing more: it watches nothing and writes nothing.

The operator starts its work in Kopf's start-up activity and ends it in the clean-up activity, which Kopf calls upon
SIGTERM, SIGINT or `stop`. Decisions come from the cache, which our own informers feed: see docs/adr/0001.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from graft_operator.settings import Settings

Activity = Callable[[], Awaitable[None]]


async def run(begin: Activity, end: Activity, *, settings: Settings, stop: asyncio.Event) -> None:
    """Call `begin`, wait for `stop` or a signal, and call `end`. Raises what either raises.

    Kopf takes over SIGTERM and SIGINT and, when it ends, cancels every task that was created after its start. Start
    everything that should outlive it before.
    """
    registry = kopf.OperatorRegistry()

    async def startup(**_: Any) -> None:
        await begin()

    async def cleanup(**_: Any) -> None:
        await end()

    kopf.on.login(registry=registry)(_login)
    kopf.on.startup(registry=registry, id="begin", errors=kopf.ErrorsMode.PERMANENT)(startup)
    kopf.on.cleanup(registry=registry, id="end", errors=kopf.ErrorsMode.PERMANENT)(cleanup)
    await kopf.operator(
        registry=registry, settings=kopf_settings(settings), clusterwide=True, standalone=True, stop_flag=stop
    )


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return Kopf's settings: without watches of its own, peering, or events."""
    tuned = kopf.OperatorSettings()
    # Otherwise it would read every CustomResourceDefinition of the cluster, in full.
    tuned.scanning.disabled = True
    tuned.posting.enabled = False
    # Auto-detection would freeze us for any stray peering object named "default".
    tuned.peering.standalone = True
    tuned.posting.reporting_component = "graft-operator"
    tuned.posting.reporting_instance = settings.identity
    return tuned


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    # Kopf asks the server for its kinds all the same. Its own defaults would import the synchronous client.
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
