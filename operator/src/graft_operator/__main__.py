"""Composition root: settings → clients → one task group. No logic of its own."""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from graft_operator.agents import Agents
from graft_operator.artifacts import Artifacts
from graft_operator.cluster import Cache, Cluster
from graft_operator.cluster.resources import BASE_MODELS, LORA_ADAPTERS, PODS
from graft_operator.controller_runtime.keys import Key
from graft_operator.controller_runtime.probes import Health, heartbeat_forever, probe_server
from graft_operator.controller_runtime.work_queue import WorkQueue
from graft_operator.reconcilers import Dispatcher, platform_of
from graft_operator.routing import adapters_of_pod
from graft_operator.runtime import Operator
from graft_operator.settings import Settings, SettingsError
from graft_operator.telemetry import logs, tracing
from graft_operator.telemetry.objects.page import Known, ObjectMetrics
from graft_operator.uninstall import release_finalizers

log = logging.getLogger("graft_operator")


def main(argv: Sequence[str] = ()) -> int:
    """Run the operator until a signal, or one of its commands. Returns the exit status.

    0 is a requested stop or a command that is done, 2 bad settings or arguments, 1 anything else.
    """
    arguments = _parser().parse_args(argv)
    if arguments.command == "release-finalizers":
        logs.configure(log_format="console", level="INFO")
        asyncio.run(release_finalizers(arguments.namespace, arguments.deployment))
        return 0
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"graft-operator: {error}", file=sys.stderr)  # noqa: T201 -- logging isn't set up yet
        return 2
    logs.configure(log_format=settings.log_format, level=settings.log_level)
    told = settings.tracing
    try:
        with tracing.sent_to(
            told.otlp_endpoint if told else None,
            sample_ratio=told.sample_ratio if told else 1.0,
            identity=settings.identity,
        ):
            asyncio.run(serve(settings))
    except Exception:
        log.exception("the operator stops because a part of it failed")
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises an exception group if any part fails, the lease included."""
    stop, cache = _stop_on_signals(), Cache()
    health = Health(clock=time.monotonic)
    async with (
        probe_server(health, port=settings.probe_port, more_metrics=object_metrics(settings, cache).exposed),
        Cluster.connect(identity=settings.identity, cache=cache) as cluster,
        Artifacts.connect(settings.registry) as artifacts,
        Agents.connect(adapters_on=lambda pod: adapters_of_pod(cache, pod.namespace, pod.name)) as agents,
        asyncio.TaskGroup() as tasks,
    ):
        heartbeat = tasks.create_task(heartbeat_forever(health), name="heartbeat")
        reconcilers = Dispatcher(cluster, cache, artifacts, agents, platform_of(settings), _now)
        queue: WorkQueue[Key] = WorkQueue(workers=settings.workers)
        operator = Operator(settings, cluster, cache, artifacts, agents, reconcilers, health, queue, now=_now)
        await operator.run(stop)
        heartbeat.cancel()


def object_metrics(settings: Settings, cache: Cache) -> ObjectMetrics:
    """Return what tells Prometheus of the objects in the cache."""
    known = Known(
        adapters=partial(cache.objects, LORA_ADAPTERS),
        bases=partial(cache.objects, BASE_MODELS),
        pods=partial(cache.objects, PODS),
    )
    return ObjectMetrics(
        known, clock=_now, gpu_second_price=settings.gpu_second_price, per_adapter=settings.adapter_metrics
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graft_operator", description="Without a command: the operator.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    release = commands.add_parser("release-finalizers", help="stop the operator and let all its objects go")
    release.add_argument("--namespace", required=True, help="of the operator")
    release.add_argument("--deployment", required=True, help="of the operator")
    return parser


def _stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; once the lease is held, Kopf takes both signals over (`host`)."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
